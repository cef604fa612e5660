// Parameters of the linear kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_LINEAR_H
#define VLM_CUDA_LINEAR_H

/// What becomes of each sum `v` (bias added) before it is stored; `f` is the activation.
enum vlm_cuda_epilogue {
    /// out = f(v)
    VLM_CUDA_STORE,
    /// out += v
    VLM_CUDA_ACCUMULATE,
    /// out += scale · v
    VLM_CUDA_SCALED_ACCUMULATE,
    /// out = f(gate) · up; weight rows lie in groups of 16, 8 of gate and the 8 of up of the same features
    VLM_CUDA_GATED
};

/// Limits that the launch and the skinny kernel share.
enum {
    /// Most rows of `x` of the skinny kernel.
    VLM_CUDA_SKINNY_ROWS = 16,
    /// Threads of its blocks: eight warps that multiply and one that fetches weights.
    VLM_CUDA_SKINNY_THREADS = 288,
    VLM_CUDA_SKINNY_CONSUMERS = 8,
    /// A unit of its work, a stage of its ring: so many bytes of so many weight rows, copied in boxes of half the bytes.
    VLM_CUDA_SKINNY_CHUNK_BYTES = 1024,
    VLM_CUDA_SKINNY_BOX_BYTES = 512,
    VLM_CUDA_SKINNY_TILE_ROWS = 16,
    VLM_CUDA_SKINNY_STAGE_BYTES = VLM_CUDA_SKINNY_CHUNK_BYTES * VLM_CUDA_SKINNY_TILE_ROWS,
    VLM_CUDA_SKINNY_MAX_STAGES = 12,
    /// Bytes at the start of shared memory: barriers, and the partial sums of squares of the norm.
    VLM_CUDA_SKINNY_HEADER_BYTES = 768,
    /// Floats between two tokens of a warp's results.
    VLM_CUDA_SKINNY_RESULT_PITCH = 20,
    /// Edge of the square that a block of the generic kernel makes.
    VLM_CUDA_GENERIC_TILE = 64
};

/// `out [rows, out_columns] = epilogue(x [rows, in_features] · weight [weight_rows, in_features]ᵀ + bias)`; strides in elements.
typedef struct {
    /// Skinny kernel, from sm_90 on: the weight for the copy engine, in boxes without swizzle.
    vlm_cuda_tensor_map weight_map;
    /// Activation type (float32 in `linear_finish`, where it is the product already).
    const void *x;
    const void *weight;
    /// float32 `[weight_rows]` or null.
    const float *bias;
    /// float32 `[out_columns]` for VLM_CUDA_SCALED_ACCUMULATE.
    const float *scale;
    /// float32 `[in_features]` to multiply the root-mean-square norm of `x` instead of `x`, or null.
    const float *norm_weight;
    void *out;
    /// Skinny kernel, where tiles are shared by blocks: 256 floats and one zero word for each block; the words are left zero.
    float *partials;
    uint32_t *flags;
    int64_t x_stride;
    int64_t weight_stride;
    int64_t out_stride;
    int32_t rows;
    int32_t in_features;
    int32_t weight_rows;
    int32_t out_columns;
    /// enum vlm_cuda_epilogue, enum vlm_cuda_activation
    int32_t epilogue;
    int32_t activation;
    /// Whether `out` is float32 rather than the activation type.
    int32_t out_float32;
    float epsilon;
    /// Skinny kernel: units of each block, see skinny.cuh.
    int32_t share;
    /// Skinny kernel: the next kernel may start when so many units of every block have yet to be asked for.
    int32_t remaining_at_next;
    /// Skinny kernel: stages in the ring; whether `x` is copied to shared memory, and then the bytes between its rows there.
    int32_t stages;
    int32_t staged;
    int32_t staged_pitch;
} vlm_cuda_linear;

/// What is left of an epilogue once a library has stored a product with its bias in a 16-bit activation type. Strides in elements; every
/// row is aligned to 16 bytes.
typedef struct {
    /// `linear_activate`: unused. `linear_gate`: `[rows, 2 · columns]` in groups of 16, 8 of gate and the 8 of up.
    const void *product;
    /// `linear_activate`: the product, which it changes in place. `[rows, columns]`
    void *out;
    int64_t product_stride;
    int64_t out_stride;
    /// Eights of columns in a row, and in all rows.
    uint32_t row_vectors;
    uint32_t vectors;
    /// enum vlm_cuda_activation
    int32_t activation;
} vlm_cuda_linear_rest;

/// Threads of the kernels that take it, and the vectors of each thread.
enum { VLM_CUDA_REST_THREADS = 256, VLM_CUDA_REST_VECTORS = 2 };

#endif
