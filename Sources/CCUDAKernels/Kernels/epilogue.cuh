// What the linear kernels do with each sum; see `vlm_cuda_epilogue`.
#pragma once

#include "mma.cuh"

__device__ __forceinline__ float load_out(const vlm_cuda_linear &p, int64_t row, int column) {
    int64_t i = row * p.out_stride + column;
    return p.out_float32 ? ((const float *)p.out)[i] : to_float(((const element_t *)p.out)[i]);
}

__device__ __forceinline__ void store_out(const vlm_cuda_linear &p, int64_t row, int column, float v) {
    int64_t i = row * p.out_stride + column;
    if (p.out_float32)
        ((float *)p.out)[i] = v;
    else
        ((element_t *)p.out)[i] = from_float<element_t>(v);
}

// One element of every epilogue but the gated one: `v` is the sum, `bias`, `scale` and `previous` (what `out` holds) belong to the column.
__device__ __forceinline__ float finished(const vlm_cuda_linear &p, float v, float bias, float scale, float previous) {
    v += bias;
    if (p.epilogue == VLM_CUDA_STORE) return activate(p.activation, v);
    return fmaf(scale, v, previous);
}

__device__ __forceinline__ void finish(const vlm_cuda_linear &p, int64_t row, int w, float v) {
    if (w >= p.out_columns) return;
    float bias = p.bias ? p.bias[w] : 0.0f;
    float scale = p.epilogue == VLM_CUDA_SCALED_ACCUMULATE ? p.scale[w] : 1.0f;
    float previous = p.epilogue == VLM_CUDA_STORE ? 0.0f : load_out(p, row, w);
    store_out(p, row, w, finished(p, v, bias, scale, previous));
}

// `w` is the weight row of the gate; the up is 8 rows on.
__device__ __forceinline__ void finish_gated(const vlm_cuda_linear &p, int64_t row, int w, float gate, float up) {
    int column = (w >> 4) * 8 + (w & 7);
    if (column >= p.out_columns) return;
    if (p.bias) {
        gate += p.bias[w];
        up += p.bias[w + 8];
    }
    store_out(p, row, column, activate(p.activation, gate) * up);
}
