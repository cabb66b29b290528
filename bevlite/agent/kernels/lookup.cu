// One feature pixel for every voxel (Fast-BEV): of the cameras that see it the last counts.
#include "project.cuh"

// Whether a camera sees a point, and in which feature pixel; 1, 0, or -1 where float32 does not tell.
__device__ int float_pixel(const double* camera, const float* error, float x, float y, float z, float nearest,
                           float stride, int width, int height, int* pixel) {
    float depth = moved_float(camera, 2, x, y, z);
    if (depth < nearest - error[2]) return 0;
    if (depth < nearest + error[2]) return -1;
    int place[2];
    for (int axis = 0; axis < 2; axis++) {
        float value = moved_float(camera, axis, x, y, z) / depth;
        float off = (error[axis] + (fabsf(value) + 1.0f) * error[2]) / (depth - error[2]) + fabsf(value) * 1e-6f;
        if (!clear_floor((value + 0.5f) / stride, off / stride + 1e-6f * fabsf(value) / stride, place + axis)) return -1;
    }
    if (place[0] < 0 || place[0] >= width || place[1] < 0 || place[1] >= height) return 0;
    *pixel = place[1] * width + place[0];
    return 1;
}

__device__ int double_pixel(const double* camera, double x, double y, double z, double nearest, int stride, int width,
                            int height, int* pixel) {
    double depth = moved(camera, 2, x, y, z);
    if (!(depth > nearest)) return 0;
    double column = floor((moved(camera, 0, x, y, z) / depth + 0.5) / stride);
    double row = floor((moved(camera, 1, x, y, z) / depth + 0.5) / stride);
    if (!(column >= 0 && column < width && row >= 0 && row < height)) return 0;
    *pixel = (int)row * width + (int)column;
    return 1;
}

// table (heights, ny * nx). cameras (count, 3, 4): BEV metres to u * depth, v * depth, depth; errors (count, 3): how
// far each of these may be off in float32.
extern "C" __global__ void lookup_table(const double* cameras, const float* errors, int camera_count,
                                        const double* heights, int height_count, double x_min, double y_min,
                                        double cell_m, int nx, int ny, double nearest, int stride, int width,
                                        int height, int* table) {
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= nx * ny) return;
    double x = centre(x_min, cell % nx, cell_m), y = centre(y_min, cell / nx, cell_m);
    double z = heights[blockIdx.y];
    int found = 0;
    for (int n = camera_count - 1; n >= 0 && !found; n--) {
        const double* camera = cameras + 12 * n;
        int pixel = 0, sees;
        sees = float_pixel(camera, errors + 3 * n, (float)x, (float)y, (float)z, (float)nearest, (float)stride, width,
                           height, &pixel);
        if (sees < 0) sees = double_pixel(camera, x, y, z, nearest, stride, width, height, &pixel);
        if (sees) found = 1 + n * width * height + pixel;
    }
    table[(long long)blockIdx.y * nx * ny + cell] = found;
}
