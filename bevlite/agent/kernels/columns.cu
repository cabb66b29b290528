// Tables of pooling by image columns (bevlite/runtime/columns.py), entry by entry those of the reference. A block sorts the
// points of one image column by cell, row and depth; slots and groups are numbered by sums in a fixed order.
#include "ordered.cuh"
#include "project.cuh"
#include "scan.cuh"

#define GROUP 32
#define NO_POINT 0xffffffffu
#define FIRST 0x80000000u  // marks the first point of a slot

// The points of every column in order: sorted (columns, room) as cell * area + row * depths + depth; slot (columns, room):
// number in the column, marked where a slot begins; counts (columns,): slots. A block a column.
extern "C" __global__ void columns_sort(const double* poses, const double* depths, int depth_count, int height,
                                        int width, int stride, double x_min, double y_min, double cell_m,
                                        double reciprocal, int nx, int ny, double z_min, double z_max,
                                        const float* errors, int room, unsigned* sorted, unsigned* slot, int* counts) {
    DYNAMIC_SHARED(unsigned, keys);  // (room,), a power of two, then the slots of cells, where they begin
    int* slots = reinterpret_cast<int*>(keys + room);
    int camera = blockIdx.x / width, column = blockIdx.x % width, area = height * depth_count;
    for (int i = threadIdx.x; i < room; i += blockDim.x) {
        int cell = -1;
        if (i < area)
            cell = frustum_cell(poses + 12 * camera, errors[camera], depths[i % depth_count], column, i / depth_count,
                                stride, x_min, y_min, cell_m, reciprocal, nx, ny, z_min, z_max);
        keys[i] = cell < 0 ? NO_POINT : (unsigned)cell * area + i;
    }
    for (int size = 2; size <= room; size *= 2)  // bitonic sort
        for (int step = size / 2; step; step /= 2) {
            __syncthreads();
            for (int i = threadIdx.x; i < room; i += blockDim.x) {
                int other = i ^ step;
                unsigned a = keys[i], b = keys[other];
                if (i < other && (a > b) == !(i & size)) {
                    keys[i] = b;
                    keys[other] = a;
                }
            }
        }
    __syncthreads();
    // A cell has as many slots as the row that reaches it most often: found by the thread of its first point.
    for (int i = threadIdx.x; i < room; i += blockDim.x) {
        int most = 0;
        unsigned cell = keys[i] / area;
        if (keys[i] != NO_POINT && (i == 0 || keys[i - 1] / area != cell))
            for (int j = i, again = 0; j < room && keys[j] != NO_POINT && keys[j] / area == cell; j++) {
                again = j > i && keys[j] / depth_count == keys[j - 1] / depth_count ? again + 1 : 0;
                most = max(most, again + 1);
            }
        slots[i] = most;
    }
    __syncthreads();
    int passed = 0;
    for (int base = 0; base < room; base += blockDim.x) {
        int i = base + threadIdx.x, own = i < room ? slots[i] : 0, total;
        int begin = passed + exclusive_sum(own, &total);
        passed += total;
        if (!own) continue;  // only what begins a cell goes on
        unsigned cell = keys[i] / area;
        for (int j = i, again = 0, seen = 0; j < room && keys[j] != NO_POINT && keys[j] / area == cell; j++) {
            again = j > i && keys[j] / depth_count == keys[j - 1] / depth_count ? again + 1 : 0;
            slot[(long long)blockIdx.x * room + j] = (unsigned)(begin + again) | (again >= seen ? FIRST : 0);
            seen = max(seen, again + 1);
        }
    }
    for (int i = threadIdx.x; i < room; i += blockDim.x) sorted[(long long)blockIdx.x * room + i] = keys[i];
    if (threadIdx.x == 0) counts[blockIdx.x] = passed;
}

// The groups of every column; row 0 of the first stays free. first_row (columns,): row of the first slot of each.
// One block. needed (1,): groups, were there room.
extern "C" __global__ void columns_groups(const int* counts, int columns, int capacity, int* first_row,
                                          int* column_index, int* needed) {
    int passed = 0, before = 0;
    for (int base = 0; base < columns; base += blockDim.x) {
        int i = base + threadIdx.x, own = i < columns ? counts[i] : 0, slots, total;
        int earlier = before + exclusive_sum(own, &slots);
        int free = own && earlier == 0;
        int groups = (own + free + GROUP - 1) / GROUP;
        int first = passed + exclusive_sum(groups, &total);
        before += slots;
        passed += total;
        if (i < columns) first_row[i] = first * GROUP + free;
        for (int k = 0; k < groups && first + k < capacity; k++) column_index[first + k] = i;
    }
    if (threadIdx.x == 0) needed[0] = passed;
}

// The weights of every slot, and how many slots each cell has. row_cell (rows,): 1 + cell of a slot's row. A block a column.
extern "C" __global__ void columns_fill(const unsigned* sorted, const unsigned* slot, const int* first_row, int room,
                                        int depth_count, int height, int width, int rows, int* depth_index,
                                        int* row_cell, int* count) {
    int camera = blockIdx.x / width, column = blockIdx.x % width, area = height * depth_count;
    for (int i = threadIdx.x; i < room; i += blockDim.x) {
        unsigned key = sorted[(long long)blockIdx.x * room + i];
        if (key == NO_POINT) break;
        unsigned marked = slot[(long long)blockIdx.x * room + i];
        int row = first_row[blockIdx.x] + (int)(marked & ~FIRST), place = key % area;
        if (row >= rows) continue;
        int v = place / depth_count, depth = place % depth_count;
        depth_index[(long long)row * height + v] = 1 + ((camera * depth_count + depth) * height + v) * width + column;
        if (!(marked & FIRST)) continue;
        row_cell[row] = 1 + key / area;
        atomicAdd(count + key / area, 1);
    }
}

// The rows of each cell, in any order; `next` moves from the begin to the end of each list.
extern "C" __global__ void columns_lists(const int* row_cell, int rows, int* next, int* list) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < rows && row_cell[row]) list[atomicAdd(next + row_cell[row] - 1, 1)] = row;
}

// The tables of the levels from the second on, of which row 0 stays zero, and cells of one slot; a warp a cell.
extern "C" __global__ void columns_levels(const int* count, int cells, int chunk, int levels, const int* capacities,
                                          const int* table_start, const int* next, const int* list,
                                          const int* row_start, int* levels_index, int* cell_index) {
    int cell = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, lane = threadIdx.x & 31;
    int slots = cell < cells ? count[cell] : 0;
    if (!slots) return;  // the same for all lanes of the warp
    const int* mine = list + next[cell] - slots;
    if (slots == 1) {
        if (lane == 0) cell_index[cell] = mine[0];
        return;
    }
    int rows = slots, below = 0;
    for (int level = 2; level <= levels && rows > 1; level++) {
        int start = row_start[(long long)(level - 1) * cells + cell];
        long long begin = (long long)(1 + start) * chunk, room = (long long)capacities[level - 1] * chunk;
        for (int base = 0, last = -1; base < rows; base += 32) {
            int id = base + lane < rows ? 1 + below + base + lane : NONE;
            if (level == 2) {
                id = smallest_above(mine, slots, last);
                last = __shfl_sync(ALL_LANES, id, 31);
            }
            long long entry = begin + base + lane;
            if (id != NONE && entry < room) levels_index[table_start[level - 1] + entry] = id;
        }
        below = start;
        rows = (rows + chunk - 1) / chunk;
    }
}
