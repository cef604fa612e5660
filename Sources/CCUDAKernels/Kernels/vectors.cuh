// 16 bytes at a time between memory and float32 registers.
#pragma once

#include "ptx.cuh"

// Elements of T in 16 bytes.
template <typename T>
constexpr int vector_size = 16 / (int)sizeof(T);

template <typename T>
__device__ __forceinline__ void unpack(uint4 raw, float *values) {
    if constexpr (sizeof(T) == 4) {
        values[0] = __uint_as_float(raw.x), values[1] = __uint_as_float(raw.y);
        values[2] = __uint_as_float(raw.z), values[3] = __uint_as_float(raw.w);
    } else {
        const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 pair = unpack2<T>(words[i]);
            values[2 * i] = pair.x, values[2 * i + 1] = pair.y;
        }
    }
}

template <typename T>
__device__ __forceinline__ uint4 pack(const float *values) {
    if constexpr (sizeof(T) == 4) {
        return make_uint4(
            __float_as_uint(values[0]), __float_as_uint(values[1]), __float_as_uint(values[2]), __float_as_uint(values[3]));
    } else {
        return make_uint4(
            pack2<T>(values[0], values[1]), pack2<T>(values[2], values[3]), pack2<T>(values[4], values[5]),
            pack2<T>(values[6], values[7]));
    }
}

// COUNT elements, a multiple of a vector, from 16-byte aligned memory.
template <typename T, int COUNT>
__device__ __forceinline__ void load_vectors(const T *from, float *values) {
#pragma unroll
    for (int i = 0; i < COUNT; i += vector_size<T>) unpack<T>(*(const uint4 *)(from + i), values + i);
}
template <typename T, int COUNT>
__device__ __forceinline__ void store_vectors(T *to, const float *values) {
#pragma unroll
    for (int i = 0; i < COUNT; i += vector_size<T>) *(uint4 *)(to + i) = pack<T>(values + i);
}

// COUNT elements (1, or 8 from 16-byte aligned memory) of a `vlm_cuda_type` known at run time.
template <typename T, int COUNT>
__device__ __forceinline__ void load_elements(const T *from, float *values) {
    if constexpr (COUNT == 1) {
        values[0] = to_float(*from);
    } else {
        load_vectors<T, COUNT>(from, values);
    }
}
template <int COUNT>
__device__ __forceinline__ void load_elements(int32_t type, const void *from, int64_t index, float *values) {
    switch (type) {
    case VLM_CUDA_FLOAT32: load_elements<float, COUNT>((const float *)from + index, values); break;
    case VLM_CUDA_FLOAT16: load_elements<half_t, COUNT>((const half_t *)from + index, values); break;
    default: load_elements<bfloat16_t, COUNT>((const bfloat16_t *)from + index, values); break;
    }
}
template <typename T, int COUNT>
__device__ __forceinline__ void store_elements(T *to, const float *values) {
    if constexpr (COUNT == 1) {
        *to = from_float<T>(values[0]);
    } else {
        store_vectors<T, COUNT>(to, values);
    }
}
template <int COUNT>
__device__ __forceinline__ void store_elements(int32_t type, void *to, int64_t index, const float *values) {
    switch (type) {
    case VLM_CUDA_FLOAT32: store_elements<float, COUNT>((float *)to + index, values); break;
    case VLM_CUDA_FLOAT16: store_elements<half_t, COUNT>((half_t *)to + index, values); break;
    default: store_elements<bfloat16_t, COUNT>((bfloat16_t *)to + index, values); break;
    }
}
