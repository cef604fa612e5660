// Parameters of norms, rotation, row moves and other kernels that are bound by memory; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_ELEMENTWISE_H
#define VLM_CUDA_ELEMENTWISE_H

enum vlm_cuda_activation {
    VLM_CUDA_NONE,
    VLM_CUDA_GELU,
    VLM_CUDA_GELU_TANH,
    VLM_CUDA_QUICK_GELU,
    VLM_CUDA_SILU,
    VLM_CUDA_RELU
};

/// Rows of `x [rows, heads, width]` normalised over `width`; strides in elements.
typedef struct {
    const void *x;
    void *out;
    /// float32 `[width]`; `bias` may be null.
    const float *weight;
    const float *bias;
    int64_t x_stride;
    int64_t out_stride;
    int32_t heads;
    int32_t width;
    float epsilon;
} vlm_cuda_norm;

#endif
