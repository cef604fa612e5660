// Matrix multiplication for AVX-512: 32 registers of sixteen floats, tiles of 12 rows by a whole panel.

#if defined(__x86_64__)
#define GT_NAME vlm_gemm_avx512
#define VM_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define VM_WIDTH 16
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define GT_ROWS 12
#define GT_VECTORS 2
#define GT_REGISTERS 24
#include "gemm_template.h"
#endif
