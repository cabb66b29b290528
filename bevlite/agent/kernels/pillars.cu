// Points of several sweeps to pillars and their index, in the order of the reference whatever order atomics come in:
// cells are counted, numbered by sums in a fixed order, lists of points are filled in any order and read ascending.
#include "ordered.cuh"
#include "scan.cuh"
#include "sweeps.cuh"

// The cell of every point (-1: none), and how many points each has. report[2]: points that are no numbers.
extern "C" __global__ void pillar_cells(const float* points, const int* first, const float* poses, const float* lags,
                                        int sweeps, float own_radius, int capacity, float x_min, float y_min,
                                        float cell_m, int nx, int ny, float z_min, float z_max, int* cell, int* count,
                                        int* report) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= capacity) return;
    int place = -1, not_finite = 0;
    Point point;
    if (i < first[sweeps] && compensated(points, first, poses, lags, sweeps, own_radius, i, &point, &not_finite)) {
        float x = floorf((point.x - x_min) / cell_m), y = floorf((point.y - y_min) / cell_m);
        if (x >= 0 && x < nx && y >= 0 && y < ny && point.z >= z_min && point.z < z_max) place = (int)y * nx + (int)x;
    }
    if (not_finite) atomicAdd(report + 2, 1);
    cell[i] = place;
    if (place >= 0) atomicAdd(count + place, 1);
}

// How many occupied cells each 1024 places have, when cells stand in order of their distance.
extern "C" __global__ void pillar_ranks(const int* count, const int* rank, int cells, int* buckets) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < cells && count[i] > 0) atomicAdd(buckets + (rank[i] >> 10), 1);
}

// The place from which on occupied cells are one too many. One block of 1024. report: pillars used, pillars dropped.
extern "C" __global__ void pillar_cut(const int* count, const int* by_rank, int cells, const int* buckets,
                                      int bucket_count, int max_pillars, int* cut, int* report) {
    __shared__ int bucket, before;
    int all = sum_of_first(buckets, bucket_count);
    if (threadIdx.x == 0) {
        report[0] = min(all, max_pillars);
        report[1] = max(all - max_pillars, 0);
        cut[0] = NONE;
    }
    if (all <= max_pillars) return;  // the same for all threads
    int passed = 0;
    for (int base = 0; base < bucket_count; base += blockDim.x) {
        int i = base + threadIdx.x, own = i < bucket_count ? buckets[i] : 0, total;
        int sum = passed + exclusive_sum(own, &total);
        if (sum <= max_pillars && sum + own > max_pillars) {
            bucket = i;
            before = sum;
        }
        passed += total;
    }
    __syncthreads();
    int place = bucket * 1024 + threadIdx.x, total;
    int occupied = place < cells && count[by_rank[place]] > 0;
    int sum = before + exclusive_sum(occupied, &total);
    if (occupied && sum == max_pillars) cut[0] = place;
}

#define CELLS_A_THREAD 4

__device__ __forceinline__ bool is_kept(const int* count, const int* rank, const int* cut, int cell, int cells) {
    return cell < cells && count[cell] > 0 && (!rank || rank[cell] < cut[0]);
}

// Kept cells and their points, by blocks of cells. `rank` is null where there is room for every cell.
extern "C" __global__ void pillar_sums(const int* count, const int* rank, const int* cut, int cells, int blocks,
                                       int* sums) {
    int first = (blockIdx.x * blockDim.x + threadIdx.x) * CELLS_A_THREAD;
    int pillars = 0, points = 0, total;
    for (int cell = first; cell < first + CELLS_A_THREAD; cell++)
        if (is_kept(count, rank, cut, cell, cells)) {
            pillars++;
            points += count[cell];
        }
    exclusive_sum(pillars, &total);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
    exclusive_sum(points, &total);
    if (threadIdx.x == 0) sums[blocks + blockIdx.x] = total;
}

// Slots in the order of cells: the index, the cell of each slot, and where the list of each cell begins.
extern "C" __global__ void pillar_slots(const int* count, const int* rank, const int* cut, int cells, int blocks,
                                        const int* sums, int* index, int* slot_cell, int* next, int* report) {
    int first = (blockIdx.x * blockDim.x + threadIdx.x) * CELLS_A_THREAD;
    int pillars = 0, points = 0, in_block;
    for (int cell = first; cell < first + CELLS_A_THREAD; cell++)
        if (is_kept(count, rank, cut, cell, cells)) {
            pillars++;
            points += count[cell];
        }
    int slot = sum_of_first(sums, blockIdx.x);
    slot += exclusive_sum(pillars, &in_block);
    int begin = sum_of_first(sums + blocks, blockIdx.x);
    begin += exclusive_sum(points, &in_block);
    for (int cell = first; cell < first + CELLS_A_THREAD && cell < cells; cell++) {
        bool kept = is_kept(count, rank, cut, cell, cells);
        index[cell] = kept ? slot + 1 : 0;
        if (!kept) continue;
        slot_cell[slot++] = cell;
        next[cell] = begin;
        begin += count[cell];
    }
    if (!rank && blockIdx.x == blocks - 1 && threadIdx.x == blockDim.x - 1) report[0] = slot;
}

// The points of each kept cell, in any order; `next` moves from the begin to the end of each list.
extern "C" __global__ void pillar_lists(const int* cell, int capacity, const int* index, int* next, int* list) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= capacity) return;
    int place = cell[i];
    if (place >= 0 && index[place] > 0) list[atomicAdd(next + place, 1)] = i;
}

// What the numbers of a point are: as in bevlite/runtime/pillars.py.
enum { PILLAR, ABSOLUTE, OFFSETS, OFFSETS_3D };

// constants: x_min, y_min, cell_m, its reciprocal, z_min, height, its reciprocal, width, its reciprocal, depth, its
// reciprocal, middle of z, origin x, y, z.
__device__ void numbers_of(const Point& point, int cell, int nx, int coordinates, const double* c, const double* mean,
                           float* tile, int stride) {
    double x = point.x, y = point.y, z = point.z;
    double from_x = x - (c[0] + (cell % nx + 0.5) * c[2]), from_y = y - (c[1] + (cell / nx + 0.5) * c[2]);
    if (coordinates >= OFFSETS) {
        double place[3] = {x - c[12], y - c[13], z - c[14]};
        float* more = tile + 5 * stride;
        more[0] = (float)from_x;
        more[stride] = (float)from_y;
        more += 2 * stride;
        if (coordinates == OFFSETS_3D) {
            more[0] = (float)(z - c[11]);
            more += stride;
        }
        for (int axis = 0; axis < 3; axis++) {
            tile[axis * stride] = (float)place[axis];
            more[axis * stride] = (float)(place[axis] - mean[axis]);
        }
    } else if (coordinates == PILLAR) {
        tile[0] = (float)quotient(from_x, c[2], c[3]);
        tile[stride] = (float)quotient(from_y, c[2], c[3]);
        tile[2 * stride] = (float)(quotient(2 * (z - c[4]), c[5], c[6]) - 1);
    } else {
        tile[0] = (float)quotient(x - c[0], c[7], c[8]);
        tile[stride] = (float)quotient(y - c[1], c[9], c[10]);
        tile[2 * stride] = (float)quotient(z - c[4], c[5], c[6]);
    }
    tile[3 * stride] = point.intensity / 255.0f;
    tile[4 * stride] = point.lag;
}

// The pillars (numbers, max_points, max_pillars), empty slots as zeros. A warp a slot; the tile of a block's slots is
// turned in shared memory, so that neighbouring slots are written together.
extern "C" __global__ void pillar_fill(const float* points, const int* first, const float* poses, const float* lags,
                                       int sweeps, float own_radius, const int* count, const int* next,
                                       const int* list, const int* slot_cell, const int* report, int nx,
                                       int coordinates, const double* constants, int numbers, int max_points,
                                       int max_pillars, int block_slots, void* pillars, int half) {
    DYNAMIC_SHARED(float, tile);  // (numbers, max_points, block_slots + 1), then (warps, max_points) numbers of points
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    int stride = block_slots + 1, used = report[0];
    int* ids = reinterpret_cast<int*>(tile + numbers * max_points * stride) + warp * max_points;
    for (int own = warp; own < block_slots; own += warps) {
        int slot = blockIdx.x * block_slots + own;
        int cell = slot < used ? slot_cell[slot] : 0, there = slot < used ? count[cell] : 0;
        const int* mine = list + (there ? next[cell] - there : 0);
        int kept = min(there, max_points), last = -1;
        for (int base = 0; base < kept; base += 32) {
            int id = smallest_above(mine, there, last);
            last = __shfl_sync(ALL_LANES, id, 31);
            if (base + lane < kept) ids[base + lane] = id;
        }
        __syncwarp();
        double mean[3] = {0, 0, 0};
        Point point;
        int bad;
        if (coordinates >= OFFSETS && kept) {
            for (int m = 0; m < kept; m++) {  // every lane alike: sums in the order of the reference
                compensated(points, first, poses, lags, sweeps, own_radius, ids[m], &point, &bad);
                mean[0] += point.x - constants[12];
                mean[1] += point.y - constants[13];
                mean[2] += point.z - constants[14];
            }
            for (int axis = 0; axis < 3; axis++) mean[axis] /= kept;
        }
        for (int m = lane; m < max_points; m += 32) {
            float* place = tile + m * stride + own;
            if (m < kept) {
                compensated(points, first, poses, lags, sweeps, own_radius, ids[m], &point, &bad);
                numbers_of(point, cell, nx, coordinates, constants, mean, place, max_points * stride);
            } else {
                for (int f = 0; f < numbers; f++) place[f * max_points * stride] = 0;
            }
        }
        __syncwarp();
    }
    __syncthreads();
    for (int i = threadIdx.x; i < numbers * max_points * block_slots; i += blockDim.x) {
        int row = i / block_slots, slot = blockIdx.x * block_slots + i % block_slots;
        if (slot < max_pillars)
            put(pillars, half, (long long)row * max_pillars + slot, tile[row * stride + i % block_slots]);
    }
}
