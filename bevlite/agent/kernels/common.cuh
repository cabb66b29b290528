// What all kernels share. Numbers are rounded operation by operation (--fmad=false), as numpy rounds them.
#pragma once

#ifndef DYNAMIC_SHARED  // the CPU emulation of the tests brings its own
#define DYNAMIC_SHARED(type, name)                      \
    extern __shared__ unsigned long long dynamic_raw[]; \
    type* name = reinterpret_cast<type*>(dynamic_raw)
#endif

typedef unsigned char byte;
typedef unsigned long long u64;

#define ALL_LANES 0xffffffffu
#define NONE 0x7fffffff

// x / y from the rounded reciprocal of y: three products instead of a division, rounded as one (Markstein).
__device__ __forceinline__ double quotient(double x, double y, double reciprocal) {
    double q = x * reciprocal;
    return fma(fma(-q, y, x), reciprocal, q);
}

// A float as a number whose order is the same, and back.
__device__ __forceinline__ unsigned ordered_bits(float value) {
    unsigned bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_ordered(unsigned bits) {
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

__device__ __forceinline__ bool is_finite(float value) { return value - value == 0.0f; }
