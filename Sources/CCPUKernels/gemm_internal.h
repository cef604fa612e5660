// What the kernel files and the driver of matrix multiplication share.
#ifndef VLM_GEMM_INTERNAL_H
#define VLM_GEMM_INTERNAL_H

#include "vlm_cpu_gemm.h"

/// Steps of K that are multiplied before moving on to the next tile. A chunk of a panel, 128 bytes a step, then fills half
/// of a first-level cache of 48 KB; the rest is for the rows that pass by. Rows of a chunk lie 768 bytes apart, which spreads
/// them over the cache's sets.
#define VLM_CHUNK 192

/// The most rows of a tile on any level.
#define VLM_MAX_TILE_ROWS 12

/// Two streams of memory that a kernel asks for while it multiplies: each step fetches a cache line of both and moves on.
typedef struct vlm_ahead {
    const char *first, *second;
    size_t first_step, second_step;
} vlm_ahead;

/// Multiplies the rows of a tile by a chunk of a panel: tile[r][c] (+)= sum over steps of a[r][step] * b[step][c].
/// `a`: [rows][VLM_CHUNK] words; two float32 words a step for the widening kernels. `b`: [steps][32] words. `tile`: [rows][32].
typedef void (*vlm_tile_kernel)(
    size_t steps, const void *a, const void *b, float *tile, bool first, const vlm_ahead *ahead);

/// Copies rows `0 ..< rows` of `x` to the layout of a tile: chunk after chunk of [tile rows][VLM_CHUNK] words, zeros past K.
typedef void (*vlm_rows_kernel)(const float *x, size_t stride, size_t rows, size_t tile_rows, size_t in_features, void *a);

/// Finishes a tile of `rows` x 32 results and writes its `columns` valid ones at `out`.
typedef void (*vlm_finish_kernel)(
    const vlm_linear_call *call, const float *tile, size_t rows, size_t panel, size_t columns, float *out);

/// The kernels of a level.
typedef struct vlm_gemm_kernels {
    size_t tile_rows;
    vlm_tile_kernel tile[3][VLM_MAX_TILE_ROWS + 1];
    vlm_rows_kernel rows[3];
    vlm_finish_kernel finish;
} vlm_gemm_kernels;

extern const vlm_gemm_kernels vlm_gemm_scalar;
#if defined(__x86_64__)
extern const vlm_gemm_kernels vlm_gemm_avx2, vlm_gemm_avx512, vlm_gemm_avx512_bf16;
#elif defined(__aarch64__)
extern const vlm_gemm_kernels vlm_gemm_neon;
#endif

const vlm_gemm_kernels *vlm_gemm_kernels_for(vlm_isa isa);

#endif
