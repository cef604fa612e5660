// Parameters of norms, rotation, row moves and other kernels that are bound by memory; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_ELEMENTWISE_H
#define VLM_CUDA_ELEMENTWISE_H

enum vlm_cuda_activation {
    VLM_CUDA_NONE,
    VLM_CUDA_GELU,
    VLM_CUDA_GELU_TANH,
    VLM_CUDA_QUICK_GELU,
    VLM_CUDA_SILU,
    VLM_CUDA_RELU,
    VLM_CUDA_TANH
};

/// Element types that kernels tell apart at run time, numbered as VLM_ELEMENT.
enum vlm_cuda_type { VLM_CUDA_FLOAT32, VLM_CUDA_FLOAT16, VLM_CUDA_BFLOAT16 };

/// Rows of `x [rows, heads, width]` normalised over `width`; strides in elements.
typedef struct {
    const void *x;
    void *out;
    /// float32 `[width]`; `bias` may be null.
    const float *weight;
    const float *bias;
    int64_t x_stride;
    int64_t out_stride;
    /// rows * heads
    int64_t units;
    int32_t heads;
    int32_t width;
    float epsilon;
} vlm_cuda_norm;

/// `x [rows, heads, size]`: the first `2 * pairs` elements of each head turn in place. Strides in elements.
typedef struct {
    void *x;
    /// float32 `[rows, pairs]`
    const float *cosine;
    const float *sine;
    int64_t x_stride;
    int64_t cosine_stride;
    int64_t sine_stride;
    int32_t rows;
    int32_t heads;
    int32_t size;
    int32_t pairs;
    /// Whether element 2i pairs with 2i + 1, not i with i + pairs.
    int32_t interleaved;
} vlm_cuda_rotate;

/// `cosine[t, r] = factor * cos(frequencies[r] * positions[axes[r], t])`, sine likewise.
typedef struct {
    /// int32 `[axis count, rows]`
    const int32_t *positions;
    /// `[columns]`
    const float *frequencies;
    const int32_t *axes;
    /// float32 `[rows, columns]`
    float *cosine;
    float *sine;
    int64_t positions_stride;
    int64_t cosine_stride;
    int64_t sine_stride;
    int32_t rows;
    int32_t columns;
    int32_t axis_count;
    float factor;
} vlm_cuda_rotary_tables;

/// `projected [rows, (heads + 2 * kv_heads) * size]`: queries are normed and turned in place, keys are normed, turned and written
/// to the cache, values are written to the cache.
typedef struct {
    void *projected;
    /// float32 `[size]`; both null where the model has no head norms.
    const float *query_norm;
    const float *key_norm;
    /// float32 `[rows, pairs]`
    const float *cosine;
    const float *sine;
    /// `[rows]` block * block size + offset; a negative slot is not written.
    const int32_t *slots;
    /// `[blocks, kv_heads, block size, size]`
    void *keys;
    void *values;
    int64_t stride;
    int64_t cosine_stride;
    int64_t sine_stride;
    /// blocks * block size: slots from here on are not written either.
    int64_t slot_count;
    int32_t rows;
    int32_t heads;
    int32_t kv_heads;
    int32_t size;
    int32_t pairs;
    /// Binary logarithms of the block size, and of the lanes that share a head (for `rotate_and_cache_vectors`).
    int32_t block_shift;
    int32_t lane_shift;
    int32_t interleaved;
    float epsilon;
} vlm_cuda_rotate_and_cache;

/// `keys`, `values` `[rows, kv_heads, size]` written to cache slots. Strides and `size` count copied units (1, 2, 4 or 16 bytes).
typedef struct {
    const void *keys;
    const void *values;
    const int32_t *slots;
    void *cached_keys;
    void *cached_values;
    int64_t keys_stride;
    int64_t values_stride;
    int64_t slot_count;
    int32_t rows;
    int32_t kv_heads;
    int32_t size;
    int32_t block_shift;
} vlm_cuda_write_cache;

/// Rows moved, converted, added or changed in place. Strides count units: what a thread moves, or elements where types are given.
typedef struct {
    const void *source;
    void *out;
    /// Which row of `source` is read, which of `out` is written for row i; null for i itself.
    const int32_t *source_rows;
    const int32_t *out_rows;
    /// A negative source row `-1 - l` means row `lanes[l]`; may be null.
    const int32_t *lanes;
    int64_t source_stride;
    int64_t out_stride;
    /// Rows that exist: reads outside give zeros, writes outside are left out.
    int64_t source_limit;
    int64_t out_limit;
    int64_t lane_limit;
    uint32_t rows;
    /// Units of a row; for the kernels that take eight elements a thread, an eighth of the row's elements.
    uint32_t units;
    /// `vlm_cuda_type`
    int32_t source_type;
    int32_t out_type;
    /// `vlm_cuda_activation`
    int32_t activation;
    float factor;
} vlm_cuda_rows;

/// `out[i] += sum of weights[i, k] * table[indices[i, k]]` over `taps` rows of the table. Strides in elements.
typedef struct {
    const void *table;
    void *out;
    /// `[rows, taps]`; rows outside the table count as zeros.
    const int32_t *indices;
    const float *weights;
    int64_t table_stride;
    int64_t out_stride;
    int64_t table_limit;
    uint32_t rows;
    /// Units of a row: elements, or eighths of a row's elements for the kernel that takes eight a thread.
    uint32_t units;
    int32_t taps;
    /// `vlm_cuda_type`
    int32_t table_type;
    int32_t out_type;
} vlm_cuda_weighted_rows;

#endif
