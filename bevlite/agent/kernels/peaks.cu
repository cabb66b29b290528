// Peaks of heat maps to boxes, circle NMS, the best of all groups: as bevlite/runtime/decoding.py, whatever order atomics come
// in. A candidate is one number: how bad its logit is, then its place; no two are alike.
#include "scan.cuh"

#define CELLS_A_THREAD 4
#define VALUES 10  // offset 2, z, log size 3, sin, cos, velocity 2

// Candidates of every group: logits (channels, cells) from `cut` on. channel_group, channel_place (channels,): the group
// of a channel and its place there; group_start (groups + 1,): where the candidates of a group begin.
extern "C" __global__ void boxes_collect(const void* maps, int half, const int* channel_group, const int* channel_place,
                                         const int* group_start, int cells, float cut, int* count, u64* candidates) {
    __shared__ int begin;
    Numbers heatmap = {maps, half};
    int channel = blockIdx.y, group = channel_group[channel];
    int first = blockIdx.x * blockDim.x * CELLS_A_THREAD + threadIdx.x, own = 0, total;
    float logits[CELLS_A_THREAD];
    for (int k = 0; k < CELLS_A_THREAD; k++) {
        int cell = first + k * blockDim.x;
        logits[k] = cell < cells ? heatmap[(long long)channel * cells + cell] : __uint_as_float(0x7fc00000u);
        own += logits[k] >= cut;
    }
    int place = exclusive_sum(own, &total);
    if (threadIdx.x == 0) begin = total ? atomicAdd(count + group, total) : 0;
    __syncthreads();
    u64* target = candidates + group_start[group] + begin + place;
    for (int k = 0; k < CELLS_A_THREAD; k++) {
        if (!(logits[k] >= cut)) continue;
        unsigned index = channel_place[channel] * cells + first + k * blockDim.x;
        *target++ = (u64)~ordered_bits(logits[k] + 0.0f) << 32 | index;  // + 0: both zeros are equal
    }
}

// The largest of the `wanted` smallest of some numbers, no two of which are alike: digit by digit from the top.
__device__ u64 smallest_bound(const u64* values, int count, int wanted, int* digits) {
    u64 prefix = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        for (int d = threadIdx.x; d < 256; d += blockDim.x) digits[d] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x)
            if (shift == 56 || values[i] >> (shift + 8) == prefix >> (shift + 8))
                atomicAdd(digits + (int)(values[i] >> shift & 255), 1);
        __syncthreads();
        int digit = 0;
        while (wanted > digits[digit]) wanted -= digits[digit++];  // every thread alike
        prefix |= (u64)digit << shift;
        __syncthreads();
    }
    return prefix;
}

struct Centres {
    const double *x, *y;
    const int* kind;
    const double* radius2;

    // Whether the better box i lies so near that j is not kept.
    __device__ bool suppress(int i, int j) const {
        if (kind[i] != kind[j]) return false;
        float dx = (float)x[i] - (float)x[j], dy = (float)y[i] - (float)y[j];
        float off = dx * dx + dy * dy - (float)radius2[kind[i]];
        float unsure = 1e-3f + 1e-6f * (fabsf(dx) + fabsf(dy) + 1) * (fabsf((float)x[i]) + fabsf((float)y[i]) + 1);
        if (fabsf(off) > unsure) return off < 0;
        double exact_x = x[i] - x[j], exact_y = y[i] - y[j];
        return exact_x * exact_x + exact_y * exact_y <= radius2[kind[i]];
    }
};

// The boxes of one group, best first: a block a group, a thread a box. radius2 (channels,): squared NMS radius of each.
// channel_of (channels,): channels of the groups, one after the other, those of a group from channel_start (groups,).
// Out: kept (groups,), keys and boxes (groups, threads, 9), kinds (groups, threads), as far as they are kept.
extern "C" __global__ void boxes_group(const u64* candidates, const int* count, const int* group_start,
                                       const int* channel_start, const int* channel_of, const double* radius2,
                                       const void* maps, int half, int nx, int cells, double x_min, double y_min,
                                       double cell_m, int max_boxes, int* kept, u64* keys, float* boxes, int* kinds) {
    DYNAMIC_SHARED(u64, own);  // (threads,) candidates, then x and y as doubles, then kinds
    __shared__ int digits[256];
    Numbers values = {maps, half};
    __shared__ int taken;
    __shared__ unsigned alive[32];
    int t = threadIdx.x, group = blockIdx.x, lane = t & 31, warp = t >> 5;
    double* x = reinterpret_cast<double*>(own + blockDim.x);
    double* y = x + blockDim.x;
    int* kind = reinterpret_cast<int*>(y + blockDim.x);
    const u64* all = candidates + group_start[group];
    int there = count[group], used = min(there, max_boxes);
    own[t] = ~0ull;
    if (t == 0) taken = 0;
    u64 bound = ~0ull;
    if (there > max_boxes) bound = smallest_bound(all, there, max_boxes, digits);
    __syncthreads();
    for (int i = t; i < there; i += blockDim.x)
        if (all[i] <= bound) own[atomicAdd(&taken, 1)] = all[i];
    for (int size = 2; size <= blockDim.x; size *= 2)  // bitonic sort
        for (int step = size / 2; step; step /= 2) {
            __syncthreads();
            int other = t ^ step;
            bool up = !(t & size);
            u64 a = own[t], b = own[other];
            __syncthreads();
            if ((a > b) == (up == (t < other))) own[t] = b;
        }
    unsigned index = (unsigned)own[t];
    int cell = index % cells;
    float raw[VALUES];
    bool finite = false;
    if (t < used) {
        for (int v = 0; v < VALUES; v++) raw[v] = values[((long long)group * VALUES + v) * cells + cell];
        finite = is_finite(raw[0]) && is_finite(raw[1]) && is_finite(raw[2]) && is_finite(raw[8]) && is_finite(raw[9]);
        for (int v = 3; v < 8; v++) finite = finite && raw[v] == raw[v];
        x[t] = x_min + (cell % nx + (double)raw[0]) * cell_m;
        y[t] = y_min + (cell / nx + (double)raw[1]) * cell_m;
        kind[t] = channel_of[channel_start[group] + index / cells];
    }
    unsigned bits = __ballot_sync(ALL_LANES, finite);
    if (lane == 0) alive[warp] = bits;
    __syncthreads();
    Centres centres = {x, y, kind, radius2};
    for (int base = 0; base < used; base += 32) {
        if (warp == 0) {
            unsigned left = alive[base / 32];
            for (int i = 0; i < 32; i++) {
                if (!(left >> i & 1)) continue;  // the same for all lanes
                bool gone = lane > i && (left >> lane & 1) && centres.suppress(base + i, base + lane);
                left &= ~__ballot_sync(ALL_LANES, gone);
            }
            if (lane == 0) alive[base / 32] = left;
        }
        __syncthreads();
        unsigned better = alive[base / 32];
        bool stays = alive[warp] >> lane & 1;
        if (t >= base + 32)
            for (unsigned rest = better; rest && stays; rest &= rest - 1)
                stays = !centres.suppress(base + __ffs(rest) - 1, t);
        unsigned after = __ballot_sync(ALL_LANES, stays);
        if (lane == 0 && warp > base / 32) alive[warp] = after;  // read by its own warp alone until the barrier
        __syncthreads();
    }
    bool stays = t < used && (alive[warp] >> lane & 1);
    int total, place = exclusive_sum(stays, &total);
    if (t == 0) kept[group] = total;
    if (!stays) return;
    place += group * blockDim.x;
    keys[place] = own[t];
    kinds[place] = kind[t];
    float* box = boxes + 9ll * place;
    box[0] = (float)x[t];
    box[1] = (float)y[t];
    box[2] = raw[2];
    for (int v = 0; v < 3; v++) box[3 + v] = expf(fminf(fmaxf(raw[3 + v], -5.0f), 5.0f));
    box[6] = atan2f(raw[6], raw[7]);
    box[7] = raw[8];
    box[8] = raw[9];
}

// How many of a group's boxes are better than a logit; `ties`: those that are as good count too.
__device__ int better_than(const u64* keys, int count, unsigned logit, bool ties) {
    int low = 0;
    while (low < count) {
        int middle = (low + count) / 2;
        unsigned other = keys[middle] >> 32;
        if (other < logit || (ties && other == logit)) low = middle + 1;
        else count = middle;
    }
    return low;
}

// The best boxes of all groups in one list; the rest of the list is zero. found (1,): how many there are.
extern "C" __global__ void boxes_merge(const int* kept, const u64* keys, const float* group_boxes,
                                       const int* group_kinds, int groups, int stride, int max_boxes, float* boxes,
                                       float* scores, int* classes, int* found) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, all = 0;
    for (int g = 0; g < groups; g++) all += kept[g];
    all = min(all, max_boxes);
    if (i == 0) found[0] = all;
    if (i >= all && i < max_boxes) {
        for (int v = 0; v < 9; v++) boxes[9 * i + v] = 0;
        scores[i] = 0;
        classes[i] = 0;
    }
    int group = i / stride, place = i % stride;
    if (group >= groups || place >= kept[group]) return;
    unsigned logit = keys[i] >> 32;
    int rank = place;
    for (int g = 0; g < groups; g++)
        if (g != group) rank += better_than(keys + (long long)g * stride, kept[g], logit, g < group);
    if (rank >= max_boxes) return;
    for (int v = 0; v < 9; v++) boxes[9 * rank + v] = group_boxes[9ll * i + v];
    scores[rank] = 1 / (1 + expf(-from_ordered(~logit)));
    classes[rank] = group_kinds[i];
}
