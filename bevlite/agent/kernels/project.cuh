// Points in cameras and on grids: decided in float32 where that is clear, in double where it is close.
// An Orin has 64 float32 units for each of double; the results are those of double.
#pragma once
#include "common.cuh"

// Floor of a number that is known up to a tolerance: false where that does not tell it.
__device__ __forceinline__ bool clear_floor(float value, float tolerance, int* found) {
    float whole = floorf(value), rest = value - whole;
    if (!(rest > tolerance && rest < 1.0f - tolerance)) return false;
    *found = fabsf(whole) < 1e9f ? (int)whole : -1;
    return true;
}

// Row `axis` of a 3 x 4 matrix times a point, in the order of numpy's references.
__device__ __forceinline__ double moved(const double* matrix, int axis, double x, double y, double z) {
    const double* row = matrix + 4 * axis;
    return x * row[0] + y * row[1] + z * row[2] + row[3];
}

__device__ __forceinline__ float moved_float(const double* matrix, int axis, float x, float y, float z) {
    const double* row = matrix + 4 * axis;
    return x * (float)row[0] + y * (float)row[1] + z * (float)row[2] + (float)row[3];
}

// Centre of a cell of the BEV grid.
__device__ __forceinline__ double centre(double low, int place, double cell_m) { return low + (place + 0.5) * cell_m; }

// Where a number falls in steps from a minimum: from float32 where that tells it, else from double.
__device__ bool stepped(const double* pose, int axis, float depth_u, float depth_v, float depth, double exact_u,
                        double exact_v, double exact_depth, float error, double low, double step, double reciprocal,
                        int* found) {
    float near = moved_float(pose, axis, depth_u, depth_v, depth);
    if (clear_floor((near - (float)low) * (float)reciprocal, error, found)) return true;
    double exact = floor(quotient(moved(pose, axis, exact_u, exact_v, exact_depth) - low, step, reciprocal));
    *found = fabs(exact) < 1e9 ? (int)exact : -1;
    return exact == exact;
}

// The cell of a frustum point, -1 outside. error: how many metres a coordinate may be off in float32.
__device__ int frustum_cell(const double* pose, float error, double depth, int column, int row, int stride, double x_min,
                            double y_min, double cell_m, double reciprocal, int nx, int ny, double z_min, double z_max) {
    double u = depth * ((column + 0.5) * stride - 0.5), v = depth * ((row + 0.5) * stride - 0.5);
    float near_u = (float)u, near_v = (float)v, near = (float)depth;
    float z = moved_float(pose, 2, near_u, near_v, near);
    bool inside = z > (float)z_min + error && z < (float)z_max - error;
    if (!inside && z > (float)z_min - error && z < (float)z_max + error) {
        double exact = moved(pose, 2, u, v, depth);
        inside = exact >= z_min && exact < z_max;
    }
    int x, y;
    float cells = error * (float)reciprocal;
    if (!inside || !stepped(pose, 0, near_u, near_v, near, u, v, depth, cells, x_min, cell_m, reciprocal, &x)) return -1;
    if (!stepped(pose, 1, near_u, near_v, near, u, v, depth, cells, y_min, cell_m, reciprocal, &y)) return -1;
    return x >= 0 && x < nx && y >= 0 && y < ny ? y * nx + x : -1;
}
