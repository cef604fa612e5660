// What gemm.cu is compiled for, and how its blocks walk over tiles.
#pragma once

#ifndef VLM_OPTION
#define VLM_OPTION 8
#endif
#define VLM_WATCHDOG (VLM_OPTION >> 12 & 1)
#include "hopper.cuh"

#if __CUDA_ARCH_FEAT_SM90_ALL && VLM_ELEMENT != 0

static constexpr int TOKENS = (VLM_OPTION & 31) * 16;
static constexpr int HALVES = (VLM_OPTION >> 5 & 1) + 1;
static constexpr int EPILOGUE = VLM_OPTION >> 6 & 7;
static constexpr int ACTIVATION = VLM_OPTION >> 9 & 7;
static constexpr int SCHEME = VLM_OPTION >> 13 & 7;
static constexpr bool PAIR = SCHEME == VLM_CUDA_GEMM_PAIR || SCHEME == VLM_CUDA_GEMM_ALTERNATE_PAIR;
static constexpr bool ALTERNATE = SCHEME == VLM_CUDA_GEMM_ALTERNATE || SCHEME == VLM_CUDA_GEMM_ALTERNATE_PAIR;
static constexpr bool SPLIT = SCHEME == VLM_CUDA_GEMM_SPLIT;

static constexpr int DEPTH = VLM_CUDA_GEMM_DEPTH;
static constexpr int FEATURES = vlm_cuda_gemm_features(HALVES, SCHEME);
static constexpr int STAGES = vlm_cuda_gemm_stages(TOKENS, HALVES, SCHEME, EPILOGUE);
static constexpr int STAGE_BYTES = vlm_cuda_gemm_stage_bytes(TOKENS, HALVES, SCHEME);
static constexpr int WEIGHT_BYTES = FEATURES * DEPTH * 2;
static constexpr int CHUNK = vlm_cuda_gemm_chunk(TOKENS);
static constexpr int BUFFER_BYTES = vlm_cuda_gemm_buffer_bytes(TOKENS, SCHEME, EPILOGUE);
static constexpr int BLOCKS_PER_WORKER = PAIR ? 2 : 1;
static_assert(STAGES >= 3 && TOKENS % CHUNK == 0 && CHUNK % 8 == 0, "tile");
static_assert(!SPLIT || FEATURES * TOKENS * 4 <= STAGES * STAGE_BYTES, "sums must fit where the stages were");

// Where things are in shared memory, as addresses.
struct layout_t {
    uint32_t stages, buffers, barriers;

    __device__ uint32_t weight(int stage) const { return stages + stage * STAGE_BYTES; }
    __device__ uint32_t x(int stage) const { return weight(stage) + WEIGHT_BYTES; }
    __device__ uint32_t full(int stage) const { return barriers + stage * 8; }
    __device__ uint32_t empty(int stage) const { return barriers + (STAGES + stage) * 8; }
    __device__ uint32_t residual(int half, int i) const { return barriers + (2 * STAGES + 2 * half + i) * 8; }
    __device__ uint32_t buffer(int half, int i) const { return buffers + (2 * half + i) * BUFFER_BYTES; }
};
static_assert((2 * 12 + 4) * 8 <= VLM_CUDA_GEMM_BARRIER_BYTES, "barriers");

// A tile, or a part of one along K: steps `begin ..< end` of 64.
struct part_t {
    int tile, begin, end;
    // Where the tile lies: its first feature (of this block) and its first token.
    int feature, token;
};

// The parts that a worker does, in order.
struct walk_t {
    int tile, tiles;

    __device__ walk_t(const vlm_cuda_gemm &p, int worker) : tile(worker), tiles(p.feature_tiles * p.token_tiles) {}

    __device__ bool has_next() const { return tile < tiles; }
    __device__ bool next(const vlm_cuda_gemm &p, int workers, int rank, part_t &part) {
        if (!has_next()) return false;
        part.tile = tile;
        part.begin = 0;
        part.end = p.blocks;
        tile += workers;
        if (SPLIT) {
            const int ranks = cluster_blocks();
            part.begin = p.blocks * rank / ranks;
            part.end = p.blocks * (rank + 1) / ranks;
            tile = tiles;
        }
        int group_tiles = p.group * p.feature_tiles;
        int group = part.tile / group_tiles, inside = part.tile - group * group_tiles;
        int wide = min(p.group, p.token_tiles - group * p.group);
        int row = inside / wide;
        part.feature = (SPLIT ? row : row * BLOCKS_PER_WORKER + rank) * FEATURES;
        part.token = (group * p.group + inside - row * wide) * TOKENS;
        return true;
    }
};

__device__ __forceinline__ float reciprocal(float x) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
__device__ __forceinline__ float exp2_of(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
__device__ __forceinline__ float sigmoid(float x) { return reciprocal(1.0f + exp2_of(-1.4426950408889634f * x)); }

// 0.5 x (1 + erf(x / √2)) = max(x, 0) - |x| erfc(|x| / √2) / 2, with erfc by formula 7.1.26 of Abramowitz and Stegun (error under
// 1.5e-7): results are rounded to 16 bits, and erff costs twice as much.
__device__ __forceinline__ float gelu(float x) {
    float t = reciprocal(fmaf(0.3275911f * 0.70710678118654752f, fabsf(x), 1.0f));
    float s = fmaf(0.5f * 1.061405429f, t, 0.5f * -1.453152027f);
    s = fmaf(fmaf(fmaf(s, t, 0.5f * 1.421413741f), t, 0.5f * -0.284496736f), t, 0.5f * 0.254829592f);
    // exp(-x² / 2)
    float y = 0.84932180028801905f * x;
    return fmaf(-fabsf(x), s * t * exp2_of(-y * y), fmaxf(x, 0.0f));
}
// As `activate`, with sigmoids of approximate instructions (relative error near 2^-22).
__device__ __forceinline__ float apply(float x) {
    switch (ACTIVATION) {
    case VLM_CUDA_GELU: return gelu(x);
    case VLM_CUDA_GELU_TANH: return x * sigmoid(1.5957691216057308f * fmaf(0.044715f * x * x, x, x));
    case VLM_CUDA_QUICK_GELU: return x * sigmoid(1.702f * x);
    case VLM_CUDA_SILU: return x * sigmoid(x);
    case VLM_CUDA_RELU: return fmaxf(x, 0.0f);
    case VLM_CUDA_TANH: return tanhf(x);
    default: return x;
    }
}

#endif
