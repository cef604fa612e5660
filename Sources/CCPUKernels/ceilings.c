// Loops that measure the machine (see vlm_cpu_ceilings.h).

#include "vlm_cpu_ceilings.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CT(name) name##_base
#define VM_TARGET
#define VM_WIDTH 4
#define VM_FMA(a, b, c) ((a) * (b) + (c))
#define CT_CHAINS 12
#include "ceilings_template.h"
#undef CT
#undef VM_TARGET
#undef VM_WIDTH
#undef VM_FMA
#undef CT_CHAINS

#if defined(__x86_64__)
#define CT(name) name##_avx2
#define VM_TARGET __attribute__((target("avx2,fma")))
#define VM_WIDTH 8
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define CT_CHAINS 12
#include "ceilings_template.h"
#undef CT
#undef VM_TARGET
#undef VM_WIDTH
#undef VM_FMA
#undef CT_CHAINS

#define CT(name) name##_avx512
#define VM_TARGET __attribute__((target("avx512f")))
#define VM_WIDTH 16
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define CT_CHAINS 24
#include "ceilings_template.h"
#undef CT
#undef VM_TARGET
#undef VM_WIDTH
#undef VM_FMA

#define CT(name) name##_avx512_bf16
#define VM_TARGET __attribute__((target("avx512f,avx512bf16")))
#define VM_WIDTH 16
#define VM_FMA(a, b, c) ((floats_avx512_bf16)_mm512_dpbf16_ps((__m512)(c), (__m512bh)(a), (__m512bh)(b)))
#include "ceilings_template.h"
#elif defined(__aarch64__)
#define CT(name) name##_neon
#define VM_TARGET
#define VM_WIDTH 4
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define CT_CHAINS 24
#include "ceilings_template.h"
#endif

double vlm_ceiling_multiply(vlm_isa isa, vlm_gemm_kind kind, size_t rounds) {
    switch (isa) {
#if defined(__x86_64__)
    case VLM_ISA_AVX2: return multiply_avx2(rounds);
    case VLM_ISA_AVX512: return multiply_avx512(rounds);
    case VLM_ISA_AVX512_BF16:
        // A BF16 dot product does two multiply-adds in each lane.
        return kind == VLM_GEMM_BF16_DOT ? 2 * multiply_avx512_bf16(rounds) : multiply_avx512(rounds);
#elif defined(__aarch64__)
    case VLM_ISA_NEON: return multiply_neon(rounds);
#endif
    default: return multiply_base(rounds);
    }
}

uint64_t vlm_ceiling_read(vlm_isa isa, const void *from, size_t bytes) {
    switch (isa) {
#if defined(__x86_64__)
    case VLM_ISA_AVX2: return read_avx2(from, bytes);
    case VLM_ISA_AVX512:
    case VLM_ISA_AVX512_BF16: return read_avx512(from, bytes);
#elif defined(__aarch64__)
    case VLM_ISA_NEON: return read_neon(from, bytes);
#endif
    default: return read_base(from, bytes);
    }
}
