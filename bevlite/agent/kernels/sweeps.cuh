// Raw points of several sweeps in the frame of the newest: as bevlite/runtime/sweeps.py.
#pragma once
#include "common.cuh"

struct Point {
    float x, y, z, intensity, lag;
};

// A raw point moved to the frame of the newest sweep; false where it is the car itself or no number.
__device__ bool compensated(const float* points, const int* first, const float* poses, const float* lags, int sweeps,
                            float own_radius, int i, Point* found, int* not_finite) {
    const float* raw = points + 5ll * i;
    float x = raw[0], y = raw[1], z = raw[2];
    found->intensity = raw[3];
    if (!(is_finite(x) && is_finite(y) && is_finite(z) && is_finite(found->intensity))) {
        *not_finite = 1;
        return false;
    }
    if (fabsf(x) < own_radius && fabsf(y) < own_radius) return false;
    int sweep = 0;
    while (sweep + 1 < sweeps && i >= first[sweep + 1]) sweep++;
    const float* pose = poses + 12 * sweep;
    found->x = x * pose[0] + y * pose[1] + z * pose[2] + pose[3];
    found->y = x * pose[4] + y * pose[5] + z * pose[6] + pose[7];
    found->z = x * pose[8] + y * pose[9] + z * pose[10] + pose[11];
    found->lag = lags[sweep];
    return true;
}
