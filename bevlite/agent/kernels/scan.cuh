// Sums over the threads of a block: always in the same order, whatever order blocks and warps run in.
#pragma once
#include "common.cuh"

// Exclusive sum over the threads of a block of whole warps; every thread calls it. `total` becomes the sum of all.
__device__ int exclusive_sum(int value, int* total) {
    __shared__ int sums[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    int sum = value;
    for (int step = 1; step < 32; step *= 2) {
        int other = __shfl_up_sync(ALL_LANES, sum, step);
        if (lane >= step) sum += other;
    }
    __syncthreads();  // of a call before
    if (lane == 31) sums[warp] = sum;
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < warps; w++) {
        if (w < warp) before += sums[w];
        all += sums[w];
    }
    *total = all;
    return before + sum - value;
}

// Sum of the first `count` of some numbers, for every thread of a block.
__device__ int sum_of_first(const int* values, int count) {
    int own = 0, total;
    for (int i = threadIdx.x; i < count; i += blockDim.x) own += values[i];
    exclusive_sum(own, &total);
    return total;
}
