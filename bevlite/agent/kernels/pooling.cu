// Tables of the pooling tree of lift-splat (bevlite/runtime/pooling.py), entry by entry those of the reference: points are
// counted by cell, rows of every level are numbered by sums in a fixed order, and each cell's points are put in order.
#include "ordered.cuh"
#include "project.cuh"
#include "scan.cuh"

#define MOST_LEVELS 8
#define CELLS_A_THREAD 4

// The cell of every frustum point (cameras, depths, height, width), -1 outside, and how many points each has.
// errors (cameras,): how many metres a coordinate may be off in float32.
extern "C" __global__ void pooling_cells(const double* poses, const double* depths, int depth_count, int height,
                                         int width, int stride, double x_min, double y_min, double cell_m,
                                         double reciprocal, int nx, int ny, double z_min, double z_max,
                                         const float* errors, int points, int* cell, int* count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= points) return;
    int column = i % width, row = i / width % height, depth_bin = i / (width * height) % depth_count;
    int camera = i / (width * height * depth_count);
    const double* pose = poses + 12 * camera;
    int place = frustum_cell(pose, errors[camera], depths[depth_bin], column, row, stride, x_min, y_min, cell_m,
                             reciprocal, nx, ny, z_min, z_max);
    cell[i] = place;
    if (place >= 0) atomicAdd(count + place, 1);
}

// Rows that a cell of so many points has at the level after one with `rows`; none where that has one row alone.
__device__ __forceinline__ int rows_above(int rows, int chunk) { return rows > 1 ? (rows + chunk - 1) / chunk : 0; }

// By blocks of cells: points, then rows of each level. sums (levels + 2, blocks); the last are rows without a level, by
// `last_chunk` to one. first_chunk: points of a row of the first level.
extern "C" __global__ void pooling_sums(const int* count, int cells, int chunk, int first_chunk, int last_chunk,
                                        int levels, int blocks, int* sums) {
    int first = (blockIdx.x * blockDim.x + threadIdx.x) * CELLS_A_THREAD, total;
    int own[MOST_LEVELS + 2];
    for (int level = 0; level < levels + 2; level++) own[level] = 0;
    for (int cell = first; cell < first + CELLS_A_THREAD && cell < cells; cell++) {
        int points = count[cell], rows = (points + first_chunk - 1) / first_chunk;
        own[0] += points;
        for (int level = 1; level <= levels; level++) {
            own[level] += rows;
            if (level < levels) rows = rows_above(rows, chunk);
        }
        if (rows > 1) own[levels + 1] += (rows + last_chunk - 1) / last_chunk;
    }
    for (int level = 0; level < levels + 2; level++) {
        exclusive_sum(own[level], &total);
        if (threadIdx.x == 0) sums[level * blocks + blockIdx.x] = total;
    }
}

// Where the list of each cell begins and its rows of each level; the row that lies on the grid for it.
// capacities (levels,). row_start (levels, cells). needed (levels + 1,): rows of each level, were there room.
extern "C" __global__ void pooling_rows(const int* count, int cells, int chunk, int first_chunk, int levels,
                                        int blocks, const int* capacities, const int* sums, int* next,
                                        int* row_start, int* cell_index, int* needed) {
    int first = (blockIdx.x * blockDim.x + threadIdx.x) * CELLS_A_THREAD, total;
    int rows[CELLS_A_THREAD], points = 0;
    for (int k = 0; k < CELLS_A_THREAD; k++) {
        int cell = first + k, own = cell < cells ? count[cell] : 0;
        rows[k] = (own + first_chunk - 1) / first_chunk;
        points += own;
        if (cell < cells && !own) cell_index[cell] = 0;
    }
    int begin = sum_of_first(sums, blockIdx.x);
    begin += exclusive_sum(points, &total);
    for (int k = 0; k < CELLS_A_THREAD && first + k < cells; k++) {
        next[first + k] = begin;
        begin += count[first + k];
    }
    int base = 1;  // of the rows of a level among those of all
    for (int level = 1; level <= levels; level++) {
        int own = 0;
        for (int k = 0; k < CELLS_A_THREAD; k++) own += rows[k];
        int before = sum_of_first(sums + level * blocks, blockIdx.x);
        int row = before + exclusive_sum(own, &total);
        if (blockIdx.x == blocks - 1 && threadIdx.x == 0) needed[level - 1] = before + total;
        for (int k = 0; k < CELLS_A_THREAD && first + k < cells; k++) {
            row_start[(long long)(level - 1) * cells + first + k] = row;
            if (rows[k] == 1) cell_index[first + k] = base + row;
            row += rows[k];
            if (level < levels) rows[k] = rows_above(rows[k], chunk);
        }
        base += capacities[level - 1];
    }
    int left = sum_of_first(sums + (levels + 1) * blocks, blocks);
    if (blockIdx.x == blocks - 1 && threadIdx.x == 0) needed[levels] = left;
}

// The points of each cell, in any order; `next` moves from the begin to the end of each list.
extern "C" __global__ void pooling_lists(const int* cell, int points, int* next, int* list) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < points && cell[i] >= 0) list[atomicAdd(next + cell[i], 1)] = i;
}

// The entries of all tables, a warp a cell. table_start (levels,): where the table of each level from the second on
// begins in `levels_index`. Rows beyond the capacity are not written: `needed` tells.
extern "C" __global__ void pooling_fill(const int* count, int cells, int chunk, int levels, const int* capacities,
                                        const int* table_start, const int* next, const int* list,
                                        const int* row_start, int depth_count, int area, int* depth_index,
                                        int* feature_index, int* levels_index) {
    int cell = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, lane = threadIdx.x & 31;
    int points = cell < cells ? count[cell] : 0;
    if (!points) return;  // the same for all lanes of the warp
    const int* mine = list + next[cell] - points;
    long long place = (long long)row_start[cell] * chunk, room = (long long)capacities[0] * chunk;
    for (int start = 0, last = -1; start < points; start += 32) {
        int point = smallest_above(mine, points, last);
        last = __shfl_sync(ALL_LANES, point, 31);
        long long entry = place + start + lane;
        if (point == NONE || entry >= room) continue;
        depth_index[entry] = point + 1;
        feature_index[entry] = point / (depth_count * area) * area + point % area;
    }
    int rows = (points + chunk - 1) / chunk, base = 1;
    for (int level = 2; level <= levels && rows > 1; level++) {
        long long begin = (long long)row_start[(long long)(level - 1) * cells + cell] * chunk;
        room = (long long)capacities[level - 1] * chunk;
        int below = base + row_start[(long long)(level - 2) * cells + cell];
        for (int row = lane; row < rows; row += 32)
            if (begin + row < room) levels_index[table_start[level - 1] + begin + row] = below + row;
        base += capacities[level - 2];
        rows = rows_above(rows, chunk);
    }
}
