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
