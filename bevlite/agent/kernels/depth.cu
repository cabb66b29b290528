// The nearest LiDAR depth in every pixel of the images (bevlite/runtime/depth.py). The nearest is a maximum of what is left
// up to infinity, so that memory begins as zeros, and the order of atomics does not count.
#include "sweeps.cuh"

#define INFINITE 0x7f800000u

// nearest (cameras, height, width): what the depth's bits leave up to infinity; 0 where no point falls.
extern "C" __global__ void depth_points(const float* points, const int* first, const float* poses, const float* lags,
                                        int sweeps, float own_radius, int capacity, const float* cameras,
                                        int camera_count, float closest, float stride, int width, int height,
                                        unsigned* nearest) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, not_finite;
    Point p;
    if (i >= capacity || i >= first[sweeps]) return;
    if (!compensated(points, first, poses, lags, sweeps, own_radius, i, &p, &not_finite)) return;
    for (int n = 0; n < camera_count; n++) {
        const float* m = cameras + 12 * n;
        float depth = p.x * m[8] + p.y * m[9] + p.z * m[10] + m[11];
        if (!(depth > closest && depth < __uint_as_float(INFINITE))) continue;
        float u = floorf(((p.x * m[0] + p.y * m[1] + p.z * m[2] + m[3]) / depth + 0.5f) / stride);
        float v = floorf(((p.x * m[4] + p.y * m[5] + p.z * m[6] + m[7]) / depth + 0.5f) / stride);
        if (u >= 0 && u < width && v >= 0 && v < height)
            atomicMax(nearest + ((long long)n * height + (int)v) * width + (int)u, INFINITE - __float_as_uint(depth));
    }
}

// From what is left up to infinity to the depth.
extern "C" __global__ void depth_finish(const unsigned* nearest, int pixels, void* depth, int half) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < pixels) put(depth, half, i, nearest[i] ? __uint_as_float(INFINITE - nearest[i]) : 0.0f);
}
