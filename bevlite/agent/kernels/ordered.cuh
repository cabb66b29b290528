// Lists that atomics filled in any order, read in ascending order: what makes the results the same every time.
#pragma once
#include "common.cuh"

// The smallest 32 numbers above `last` of a list, lane by lane ascending; NONE where there are no more.
// One warp, all lanes; the list is read once, and a number is put in its place only if it is among them so far.
__device__ int smallest_above(const int* list, int count, int last) {
    int lane = threadIdx.x & 31;
    int best = NONE;
    for (int base = 0; base < count; base += 32) {
        int own = base + lane < count ? list[base + lane] : NONE;
        if (own <= last) own = NONE;
        unsigned pending = __ballot_sync(ALL_LANES, own < __shfl_sync(ALL_LANES, best, 31));
        while (pending) {
            int value = __shfl_sync(ALL_LANES, own, __ffs(pending) - 1);
            int place = __popc(__ballot_sync(ALL_LANES, best < value));
            int before = __shfl_up_sync(ALL_LANES, best, 1);
            if (lane == place) best = value;
            if (lane > place) best = before;
            pending &= pending - 1;
        }
    }
    return best;
}
