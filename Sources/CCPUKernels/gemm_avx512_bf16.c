// Matrix multiplication for AVX-512 with the BF16 dot product.

#if defined(__x86_64__)
#include <immintrin.h>

#define GT_NAME vlm_gemm_avx512_bf16
#define VM_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")))
#define VM_WIDTH 16
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define GT_ROWS 12
#define GT_VECTORS 2
#define GT_REGISTERS 24
#define GT_DOT(acc, a, b) ((vm_float)_mm512_dpbf16_ps((__m512)(acc), (__m512bh)(a), (__m512bh)(b)))
/// 32 floats rounded to nearest even.
#define GT_STORE_BF16(to, from) \
    _mm512_storeu_si512((to), (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps((from) + 16), _mm512_loadu_ps(from)))
#include "gemm_template.h"
#endif
