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

#ifndef HALF_BY_HAND  // no header of CUDA is needed
__device__ __forceinline__ float from_half(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
__device__ __forceinline__ unsigned short to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

// Numbers that an engine gives, as FP16 or FP32.
struct Numbers {
    const void* data;
    int half;
    __device__ float operator[](long long i) const {
        if (half) return from_half(static_cast<const unsigned short*>(data)[i]);
        return static_cast<const float*>(data)[i];
    }
};

// A number that an engine takes, as FP16 or FP32.
__device__ __forceinline__ void put(void* data, int half, long long i, float value) {
    if (half) static_cast<unsigned short*>(data)[i] = to_half(value);
    else static_cast<float*>(data)[i] = value;
}

__device__ __forceinline__ bool is_finite(float value) { return value - value == 0.0f; }
