// Element types without CUDA's headers, which a machine that only runs models does not have.
//
// A program is compiled for one activation type: -DVLM_ELEMENT=0 float32, 1 float16, 2 bfloat16.
#pragma once

#include "vlm_cuda_kernels.h"

struct half_t {
    uint16_t bits;
};
struct bfloat16_t {
    uint16_t bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(half_t x) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.bits));
    return f;
}
__device__ __forceinline__ float to_float(bfloat16_t x) { return __uint_as_float((uint32_t)x.bits << 16); }

template <typename T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ half_t from_float<half_t>(float x) {
    half_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
    return h;
}
template <>
__device__ __forceinline__ bfloat16_t from_float<bfloat16_t>(float x) {
    bfloat16_t b;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b.bits) : "f"(x));
    return b;
}

// Two 16-bit values in a register: `low` at the lower address.
template <typename T>
__device__ __forceinline__ uint32_t pack2(float low, float high);
template <>
__device__ __forceinline__ uint32_t pack2<half_t>(float low, float high) {
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
template <>
__device__ __forceinline__ uint32_t pack2<bfloat16_t>(float low, float high) {
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
template <typename T>
__device__ __forceinline__ float2 unpack2(uint32_t pair);
template <>
__device__ __forceinline__ float2 unpack2<half_t>(uint32_t pair) {
    return make_float2(to_float(half_t{(uint16_t)pair}), to_float(half_t{(uint16_t)(pair >> 16)}));
}
template <>
__device__ __forceinline__ float2 unpack2<bfloat16_t>(uint32_t pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

#if VLM_ELEMENT == 0
typedef float element_t;
#elif VLM_ELEMENT == 1
typedef half_t element_t;
#else
typedef bfloat16_t element_t;
#endif

// Activations, numbered as `vlm_cuda_activation`.
__device__ __forceinline__ float activate(int32_t kind, float x) {
    switch (kind) {
    case VLM_CUDA_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case VLM_CUDA_GELU_TANH: return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case VLM_CUDA_QUICK_GELU: return x / (1.0f + __expf(-1.702f * x));
    case VLM_CUDA_SILU: return x / (1.0f + __expf(-x));
    case VLM_CUDA_RELU: return fmaxf(x, 0.0f);
    case VLM_CUDA_TANH: return tanhf(x);
    default: return x;
    }
}
