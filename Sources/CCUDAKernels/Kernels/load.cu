// Weights on their way from a checkpoint's bytes, or from a formula, to the layout of the matrix kernels.
//
// A copy arrives over a bus of 50 GB/s or less, so one pass at a fraction of the memory's speed is plenty: any thread handles eight
// elements at a time, types are told apart at run time.
#include "ptx.cuh"

static __device__ __forceinline__ float load_element(const void *p, uint64_t i, int32_t type) {
    switch (type) {
    case VLM_CUDA_FLOAT32: return ((const float *)p)[i];
    case VLM_CUDA_FLOAT16: return to_float(((const half_t *)p)[i]);
    default: return to_float(((const bfloat16_t *)p)[i]);
    }
}

static __device__ __forceinline__ void store_element(void *p, uint64_t i, int32_t type, float x) {
    switch (type) {
    case VLM_CUDA_FLOAT32: ((float *)p)[i] = x; break;
    case VLM_CUDA_FLOAT16: ((half_t *)p)[i] = from_float<half_t>(x); break;
    default: ((bfloat16_t *)p)[i] = from_float<bfloat16_t>(x); break;
    }
}

// Eight elements from element `i` on, a multiple of eight of an aligned array.
static __device__ __forceinline__ void load_eight(const void *p, uint64_t i, int32_t type, float *x) {
    if (type == VLM_CUDA_FLOAT32) {
        float4 a = ((const float4 *)p)[i / 4], b = ((const float4 *)p)[i / 4 + 1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
        return;
    }
    uint4 bits = ((const uint4 *)p)[i / 8];
    uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float2 pair = type == VLM_CUDA_FLOAT16 ? unpack2<half_t>(words[j]) : unpack2<bfloat16_t>(words[j]);
        x[2 * j] = pair.x;
        x[2 * j + 1] = pair.y;
    }
}

static __device__ __forceinline__ void store_eight(void *p, uint64_t i, int32_t type, const float *x) {
    if (type == VLM_CUDA_FLOAT32) {
        ((float4 *)p)[i / 4] = make_float4(x[0], x[1], x[2], x[3]);
        ((float4 *)p)[i / 4 + 1] = make_float4(x[4], x[5], x[6], x[7]);
        return;
    }
    uint32_t words[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        words[j] = type == VLM_CUDA_FLOAT16 ? pack2<half_t>(x[2 * j], x[2 * j + 1]) : pack2<bfloat16_t>(x[2 * j], x[2 * j + 1]);
    }
    ((uint4 *)p)[i / 8] = make_uint4(words[0], words[1], words[2], words[3]);
}

// HostRecipe's numbers, bit for bit.
static __device__ __forceinline__ float made_element(const vlm_cuda_place &p, uint64_t i) {
    float value = p.constant;
    if (p.scale != 0.0f) {
        uint32_t inner = (uint32_t)(p.key >> 32) ^ ((uint32_t)(i >> 32) * 0x9E3779B9u);
        uint32_t x = (uint32_t)i + (uint32_t)p.key;
        x = (x ^ (x >> 16)) * 0x21F0AAADu;
        x ^= inner;
        x = (x ^ (x >> 15)) * 0xD35A2D97u;
        x ^= x >> 15;
        uint32_t pairs = (x & 0x00FF00FFu) + ((x >> 8) & 0x00FF00FFu);
        int32_t sum = (int32_t)((pairs & 0xFFFFu) + (pairs >> 16));
        value = (float)(sum - 510) * p.scale;
    }
    return __uint_as_float((__float_as_uint(value) + 0x8000u) & 0xFFFF0000u);
}

static __device__ __forceinline__ uint64_t place_of(const vlm_cuda_place &p, uint64_t i) {
    uint64_t row = i / p.columns, column = i - row * p.columns;
    if (p.interleaved) row = row / 8 * 16 + row % 8;
    return (p.row_offset + row) * p.row_stride + column;
}

static __device__ __forceinline__ void check(const vlm_cuda_place &p, uint64_t i, float x) {
    // NaN and infinity have the greatest exponent.
    if ((__float_as_uint(x) & 0x7F800000u) == 0x7F800000u) atomicMin((unsigned long long *)p.not_finite, (unsigned long long)i);
}

/// Any number of blocks of 256. `columns`, `first`, `count` multiples of eight; source and out aligned to 16 bytes.
extern "C" __global__ void place_rows_of_eights(const __grid_constant__ vlm_cuda_place p) {
    uint64_t step = (uint64_t)gridDim.x * blockDim.x * 8;
    for (uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < p.count; i += step) {
        float x[8];
        if (p.source) {
            load_eight(p.source, i, p.source_type, x);
#pragma unroll
            for (int j = 0; j < 8; j++) check(p, p.first + i + j, x[j]);
        } else {
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] = made_element(p, p.first + i + j);
        }
        store_eight(p.out, place_of(p, p.first + i), p.out_type, x);
    }
}

/// The same for any columns.
extern "C" __global__ void place_rows(const __grid_constant__ vlm_cuda_place p) {
    uint64_t step = (uint64_t)gridDim.x * blockDim.x;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += step) {
        float x;
        if (p.source) {
            x = load_element(p.source, i, p.source_type);
            check(p, p.first + i, x);
        } else {
            x = made_element(p, p.first + i);
        }
        store_element(p.out, place_of(p, p.first + i), p.out_type, x);
    }
}

/// Row r of a weight and element r of its bias, times factor r. Blocks: rows. The types are the program's; the bias is float32 or null, and
/// `short_bias`, where there is one, its copy in the program's type.
extern "C" __global__ void __launch_bounds__(256) scale_rows(const __grid_constant__ vlm_cuda_scale_rows p) {
    uint64_t row = blockIdx.x;
    float factor = p.factors[row];
    element_t *x = (element_t *)p.weight + row * p.row_stride;
    for (uint64_t i = threadIdx.x; i < p.columns; i += blockDim.x) x[i] = from_float<element_t>(to_float(x[i]) * factor);
    if (threadIdx.x == 0 && p.bias) {
        float bias = p.bias[row] * factor;
        p.bias[row] = bias;
        if (p.short_bias) ((element_t *)p.short_bias)[row] = from_float<element_t>(bias);
    }
}
