// Matrix multiplication with packed weights: out[T, N] = epilogue(x[T, K] · W[N, K]ᵀ).
//
// Packed weights. N is cut into panels of 32 output features. A panel is one contiguous stream over K of rows of 32 words of
// 32 bits: one float32 per feature, or a pair of bfloat16 (k even in the low half, k odd in the high half). The same stream
// serves one row (decoding reads each panel once, front to back) and thousands (a chunk of a panel stays in the first-level
// cache while tiles of rows pass by). N and K are padded with zeros.
//
// Order of summation. Each result is one chain of fused multiply-adds over k = 0, 1, 2 ... whatever the number of rows, so
// a row's result does not depend on the other rows of its batch.
#ifndef VLM_CPU_GEMM_H
#define VLM_CPU_GEMM_H

#include "vlm_cpu.h"

/// Output features of a panel.
#define VLM_PANEL 32

/// How weights are stored and activations enter the multiplication.
typedef enum vlm_gemm_kind {
    /// float32 weights, float32 activations.
    VLM_GEMM_F32 = 0,
    /// Pairs of bfloat16 weights, activations rounded to bfloat16, products summed in float32 by the BF16 dot product.
    VLM_GEMM_BF16_DOT = 1,
    /// Pairs of bfloat16 weights widened in registers, float32 activations.
    VLM_GEMM_BF16_WIDE = 2,
} vlm_gemm_kind;

/// Element types of source weights.
typedef enum vlm_source_type {
    VLM_SOURCE_F32 = 0,
    VLM_SOURCE_F16 = 1,
    VLM_SOURCE_BF16 = 2,
} vlm_source_type;

typedef enum vlm_activation {
    VLM_ACTIVATION_NONE = 0,
    VLM_ACTIVATION_GELU = 1,
    VLM_ACTIVATION_GELU_TANH = 2,
    VLM_ACTIVATION_QUICK_GELU = 3,
    VLM_ACTIVATION_SILU = 4,
    VLM_ACTIVATION_RELU = 5,
    VLM_ACTIVATION_TANH = 6,
} vlm_activation;

/// What happens to a result v (bias included) before it is written.
typedef enum vlm_epilogue {
    /// out = f(v), f the activation or nothing
    VLM_EPILOGUE_STORE = 0,
    /// out += v
    VLM_EPILOGUE_ACCUMULATE = 1,
    /// out += scale * v
    VLM_EPILOGUE_SCALED_ACCUMULATE = 2,
    /// A panel holds 16 gate features and their 16 up features: out = f(gate) * up
    VLM_EPILOGUE_GATED = 3,
} vlm_epilogue;

/// One multiplication. Strides are in elements.
typedef struct vlm_linear_call {
    vlm_isa isa;
    vlm_gemm_kind kind;
    size_t rows;          // T
    size_t in_features;   // K
    size_t out_features;  // columns of out; half of the weight's features when gated
    const float *x;
    size_t x_stride;
    const void *panels;
    const float *bias;  // padded to whole panels, in their order; may be NULL
    vlm_epilogue epilogue;
    vlm_activation activation;
    const float *scale;  // [out_features], for the scaled epilogue
    float *out;
    size_t out_stride;
    void *scratch;  // vlm_linear_scratch_bytes() bytes, aligned to 64
} vlm_linear_call;

/// The kernels' way of multiplying bfloat16 weights at a level.
vlm_gemm_kind vlm_gemm_bf16_kind(vlm_isa isa);

/// Scratch memory that a call needs on a pool of `threads` threads.
size_t vlm_linear_scratch_bytes(const vlm_linear_call *call, int threads);

/// Computes a call on the pool's threads. False when the pool is busy.
bool vlm_linear(vlm_pool *pool, int threads, const vlm_linear_call *call);

/// Bytes of packed weights.
size_t vlm_packed_bytes(bool bf16, size_t panels, size_t in_features);

/// Rows of one source matrix, as packing sees them.
typedef struct vlm_pack_source {
    const void *data;  // [rows, in_features], any alignment
    vlm_source_type type;
    size_t rows;
} vlm_pack_source;

/// Packs panels `first ..< first + count` of the concatenation of `sources` (or of gate and up, interleaved by 16).
void vlm_pack_panels(
    vlm_isa isa, bool bf16, bool gate_up, const vlm_pack_source *sources, size_t source_count, size_t in_features,
    size_t first, size_t count, void *packed);

/// Converts `count` elements between float types; source and destination may be unaligned. Conversions to a narrower type round
/// to nearest even. `to` is one of the source types.
void vlm_convert(vlm_isa isa, const void *source, vlm_source_type from, void *destination, vlm_source_type to, size_t count);

#endif
