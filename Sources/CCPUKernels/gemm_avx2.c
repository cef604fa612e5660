// Matrix multiplication for AVX2 with FMA: sixteen registers of eight floats.

#if defined(__x86_64__)
#include <immintrin.h>

#define GT_NAME vlm_gemm_avx2
#define VM_TARGET __attribute__((target("avx2,fma,f16c")))
#define VM_WIDTH 8
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define GT_ROWS 6
#define GT_VECTORS 2
#define GT_REGISTERS 8
#include "gemm_template.h"
#endif
