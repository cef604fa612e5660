// Parameters of the kernels that place weights; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_LOAD_H
#define VLM_CUDA_LOAD_H

/// Elements `first ..< first + count` of a tensor `[rows, columns]`, on their way to their rows of a weight. Types are `vlm_cuda_type`.
typedef struct {
    /// Element `first` of the source; null when the elements follow from a formula.
    const void *source;
    /// Row 0 of the weight.
    void *out;
    /// The index of the source's first element that is not finite goes here, if it is below what is there.
    uint64_t *not_finite;
    uint64_t first;
    uint64_t count;
    uint64_t columns;
    /// Elements between rows of the weight; a multiple of eight for the kernel of eights.
    uint64_t row_stride;
    /// Where source row r goes: row `row_offset + (interleaved ? r / 8 * 16 + r % 8 : r)` of the weight.
    uint64_t row_offset;
    /// Formula: normal numbers of this key and scale (see HostRecipe), or `constant` when `scale` is 0. Rounded to bfloat16.
    uint64_t key;
    float scale;
    float constant;
    int32_t interleaved;
    int32_t source_type;
    int32_t out_type;
} vlm_cuda_place;

/// A weight `[rows, columns]` whose outputs are scaled for good.
typedef struct {
    void *weight;
    float *bias;
    void *short_bias;
    const float *factors;
    uint64_t columns;
    uint64_t row_stride;
} vlm_cuda_scale_rows;

#endif
