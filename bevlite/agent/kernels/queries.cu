// Columns of a query head to boxes, best first; one block.
#include "scan.cuh"

#define ROWS 15
enum { CLASS, X, Y, HEAT, SCORE, BOX };  // as bevlite/runtime/decoding.py: QueryRows

extern "C" __global__ void queries_decode(const void* maps, int half, int count, double x_min, double y_min, double cell_m,
                                          double threshold, int max_boxes, float* boxes, float* scores, int* classes,
                                          int* found) {
    DYNAMIC_SHARED(u64, keys);  // (count,)
    Numbers queries = {maps, half};
    int own = 0, all;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        bool there = (double)queries[SCORE * count + i] > threshold;
        for (int row = 0; row < ROWS; row++) there = there && is_finite(queries[row * count + i]);
        keys[i] = there ? (u64)~ordered_bits(queries[SCORE * count + i]) << 32 | (unsigned)i : ~0ull;
        own += there;
    }
    exclusive_sum(own, &all);  // and a barrier for the keys
    all = min(all, max_boxes);
    if (threadIdx.x == 0) found[0] = all;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        if (keys[i] == ~0ull) continue;
        int rank = 0;
        for (int j = 0; j < count; j++) rank += keys[j] < keys[i];
        if (rank >= max_boxes) continue;
        float raw[ROWS];
        for (int row = 0; row < ROWS; row++) raw[row] = queries[row * count + i];
        float* box = boxes + 9 * rank;
        box[0] = (float)(x_min + ((double)raw[X] + raw[BOX]) * cell_m);
        box[1] = (float)(y_min + ((double)raw[Y] + raw[BOX + 1]) * cell_m);
        box[2] = raw[BOX + 2];
        for (int v = 3; v < 6; v++) box[v] = expf(fminf(fmaxf(raw[BOX + v], -5.0f), 5.0f));
        box[6] = atan2f(raw[BOX + 6], raw[BOX + 7]);
        box[7] = raw[BOX + 8];
        box[8] = raw[BOX + 9];
        scores[rank] = raw[SCORE];
        classes[rank] = (int)rintf(raw[CLASS]);
    }
    for (int i = all + threadIdx.x; i < max_boxes; i += blockDim.x) {
        for (int v = 0; v < 9; v++) boxes[9 * i + v] = 0;
        scores[i] = 0;
        classes[i] = 0;
    }
}
