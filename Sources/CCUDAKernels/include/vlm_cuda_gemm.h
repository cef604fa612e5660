// Parameters of the matrix multiplication for Hopper in gemm.cu; see vlm_cuda_kernels.h.
//
// A program is compiled for one shape of tile and one epilogue. What follows from those is computed here, for both sides.
#ifndef VLM_CUDA_GEMM_H
#define VLM_CUDA_GEMM_H

#ifdef __CUDACC_RTC__
#define VLM_CUDA_FORMULA static constexpr __host__ __device__ int32_t
#else
#define VLM_CUDA_FORMULA static inline int32_t
#endif

enum vlm_cuda_gemm_epilogue {
    /// `out = x Wᵀ + bias`
    VLM_CUDA_GEMM_STORE,
    /// `out += scale ⊙ (x Wᵀ + bias)`
    VLM_CUDA_GEMM_ACCUMULATE,
    /// `out = f(x Wᵀ + bias)`
    VLM_CUDA_GEMM_ACTIVATE,
    /// `out = f(gate) ⊙ up`, gate and up in alternate groups of 8 rows of W
    VLM_CUDA_GEMM_GATED,
    /// `out = x Wᵀ + bias` in float32
    VLM_CUDA_GEMM_FLOAT32
};

enum {
    /// Threads of a block: four warps that copy, eight that multiply.
    VLM_CUDA_GEMM_THREADS = 384,
    /// Elements of the summed axis in one stage.
    VLM_CUDA_GEMM_DEPTH = 64,
    /// Shared memory that one block may have on Hopper, less what aligning its start may cost.
    VLM_CUDA_GEMM_SHARED = 232448 - 1024,
    VLM_CUDA_GEMM_BARRIER_BYTES = 256
};

/// Who works on a tile.
enum vlm_cuda_gemm_scheme {
    /// A block, each group of four warps on half of the features.
    VLM_CUDA_GEMM_TOGETHER,
    /// Two blocks of a cluster, on neighbouring features, which share the copies of their tokens.
    VLM_CUDA_GEMM_PAIR,
    /// One group of a block, while the other finishes the tile before.
    VLM_CUDA_GEMM_ALTERNATE,
    VLM_CUDA_GEMM_ALTERNATE_PAIR,
    /// All blocks of a cluster, each on its part of K; then each finishes its part of the tokens.
    VLM_CUDA_GEMM_SPLIT
};

/// `VLM_OPTION` of a tile of `vlm_cuda_gemm_features` by `tokens` (a multiple of 16 up to 256); `activation` as `vlm_cuda_activation`;
/// `watchdog`: waits that last too long trap.
VLM_CUDA_FORMULA vlm_cuda_gemm_option(
    int32_t tokens, int32_t halves, int32_t scheme, int32_t epilogue, int32_t activation, int32_t watchdog) {
    return tokens / 16 | (halves - 1) << 5 | epilogue << 6 | activation << 9 | watchdog << 12 | scheme << 13;
}
/// Features of a tile, of which every group of four warps multiplies `halves` times 64.
VLM_CUDA_FORMULA vlm_cuda_gemm_features(int32_t halves, int32_t scheme) {
    return 64 * halves * (scheme == VLM_CUDA_GEMM_ALTERNATE || scheme == VLM_CUDA_GEMM_ALTERNATE_PAIR ? 1 : 2);
}
/// Tokens that leave through one buffer of the epilogue: a divisor of the tile's tokens and a multiple of 8.
VLM_CUDA_FORMULA vlm_cuda_gemm_chunk(int32_t tokens) {
    if (tokens <= 64) return tokens;
    for (int32_t chunk = 64; chunk >= 40; chunk -= 8) {
        if (tokens % chunk == 0) return chunk;
    }
    for (int32_t chunk = 72; chunk < tokens; chunk += 8) {
        if (tokens % chunk == 0) return chunk;
    }
    return tokens;
}
/// Bytes of one buffer of the epilogue; each group of four warps has two.
VLM_CUDA_FORMULA vlm_cuda_gemm_buffer_bytes(int32_t tokens, int32_t scheme, int32_t epilogue) {
    return epilogue == VLM_CUDA_GEMM_FLOAT32 || scheme == VLM_CUDA_GEMM_SPLIT
        ? 0
        : vlm_cuda_gemm_chunk(tokens) * (epilogue == VLM_CUDA_GEMM_GATED ? 64 : 128);
}
VLM_CUDA_FORMULA vlm_cuda_gemm_stage_bytes(int32_t tokens, int32_t halves, int32_t scheme) {
    return (vlm_cuda_gemm_features(halves, scheme) + tokens) * VLM_CUDA_GEMM_DEPTH * 2;
}
/// Stages that fit, at most 12.
VLM_CUDA_FORMULA vlm_cuda_gemm_stages(int32_t tokens, int32_t halves, int32_t scheme, int32_t epilogue) {
    int32_t room =
        VLM_CUDA_GEMM_SHARED - VLM_CUDA_GEMM_BARRIER_BYTES - 4 * vlm_cuda_gemm_buffer_bytes(tokens, scheme, epilogue);
    int32_t stages = room / vlm_cuda_gemm_stage_bytes(tokens, halves, scheme);
    return stages > 12 ? 12 : stages;
}
/// Dynamic shared memory of a launch.
VLM_CUDA_FORMULA vlm_cuda_gemm_shared_bytes(int32_t tokens, int32_t halves, int32_t scheme, int32_t epilogue) {
    return 1024 + VLM_CUDA_GEMM_BARRIER_BYTES + 4 * vlm_cuda_gemm_buffer_bytes(tokens, scheme, epilogue)
        + vlm_cuda_gemm_stages(tokens, halves, scheme, epilogue) * vlm_cuda_gemm_stage_bytes(tokens, halves, scheme);
}

/// `out [tokens, outFeatures] = epilogue(x [tokens, K] · W [features, K]ᵀ)`; workers are blocks or clusters of them, and walk over tiles
/// in rounds. A cluster that splits tiles has one tile.
typedef struct {
    /// `[features, K]` in boxes of a tile's features by 64; `[tokens, K]` in boxes of its tokens (half of them for a pair) by 64.
    vlm_cuda_tensor_map weight;
    vlm_cuda_tensor_map x;
    /// `[tokens, outFeatures]` in boxes of a chunk's tokens by 64 (gated: 32), outFeatures a multiple of 8; unused for float32 and
    /// for split tiles.
    vlm_cuda_tensor_map out_map;
    /// float32 `[features]`, or null.
    const float *bias;
    const float *scale;
    /// The output where `out_map` is unused, `out_stride` elements from row to row.
    void *out;
    int64_t out_stride;
    int32_t tokens;
    int32_t features;
    int32_t out_features;
    /// Steps of 64 along K.
    int32_t blocks;
    /// Tiles along the features (of a pair: two blocks' together) and along the tokens; the order goes through `group` token tiles
    /// of every feature tile before the next group.
    int32_t feature_tiles;
    int32_t token_tiles;
    int32_t group;
    /// Whether weights are read once only, so that the cache need not keep them.
    int32_t weights_once;
    /// Whether a group's tokens fit into the cache beside all else.
    int32_t x_stays;
} vlm_cuda_gemm;

#endif
