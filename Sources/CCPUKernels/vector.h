// Vectors of W floats and the functions kernels share, for the instruction set that instantiate.h is at. No include guard:
// every instruction set gets its own copy. Vectors are the compiler's extension, so one text serves all of them.

typedef float ISA(vf_) __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t ISA(vi_) __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint32_t ISA(vu_) __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint16_t ISA(vh_) __attribute__((vector_size(2 * W), aligned(2), may_alias));

#undef VF
#undef VI
#undef VU
#undef VH
#undef INLINE
#define VF ISA(vf_)
#define VI ISA(vi_)
#define VU ISA(vu_)
#define VH ISA(vh_)
#define INLINE static inline __attribute__((always_inline, unused))

INLINE VF ISA(load)(const float *p) { return *(const VF *)p; }
INLINE void ISA(store)(float *p, VF v) { *(VF *)p = v; }
INLINE VF ISA(splat)(float x) { return x - (VF){0}; }

// The first n < W floats, zeros behind them.
INLINE VF ISA(load_part)(const float *p, long n) {
#if X86_LEVEL == 3
    return (VF)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    VF v = {0};
    for (long i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

INLINE void ISA(store_part)(float *p, VF v, long n) {
#if X86_LEVEL == 3
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    for (long i = 0; i < n; i++) p[i] = v[i];
#endif
}

// a where the mask is set (all bits), b elsewhere.
INLINE VF ISA(select)(VI mask, VF a, VF b) { return (VF)(((VI)a & mask) | ((VI)b & ~mask)); }

// The larger of two; b when either is NaN, so a limit goes first and a value second.
INLINE VF ISA(larger)(VF a, VF b) {
#if X86_LEVEL == 3
    return (VF)_mm512_max_ps((__m512)a, (__m512)b);
#elif X86_LEVEL == 2
    return (VF)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return ISA(select)((VI)(a > b), a, b);
#endif
}

// The smaller of two; b when either is NaN.
INLINE VF ISA(smaller)(VF a, VF b) {
#if X86_LEVEL == 3
    return (VF)_mm512_min_ps((__m512)a, (__m512)b);
#elif X86_LEVEL == 2
    return (VF)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return ISA(select)((VI)(a < b), a, b);
#endif
}

INLINE VF ISA(absolute)(VF x) { return (VF)((VI)x & 0x7fffffff); }

INLINE float ISA(sum)(VF v) {
#if X86_LEVEL == 3
    return _mm512_reduce_add_ps((__m512)v);
#else
    float t[W];
    ISA(store)(t, v);
    for (int half = W / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) t[i] += t[i + half];
    return t[0];
#endif
}

INLINE float ISA(largest)(VF v) {
#if X86_LEVEL == 3
    return _mm512_reduce_max_ps((__m512)v);
#else
    float t[W];
    ISA(store)(t, v);
    for (int half = W / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) t[i] = t[i] > t[i + half] ? t[i] : t[i + half];
    return t[0];
#endif
}

// 2^x for x <= 127. Relative error 1e-7 (`precise`) or 3e-6; exactly 1 at 0, exactly 0 at and below -127, NaN at NaN.
//
// x = n + r with n whole and |r| <= 1/2; the polynomial is a minimax fit of (2^r - 1) / r with relative weights, its constant
// term fixed to 1 so that whole powers are exact.
INLINE VF ISA(exp2)(VF x, bool precise) {
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers and leaves n in the low bits
    x = ISA(larger)(ISA(splat)(-127.0f), x);
    VF t = x + shift;
    VF r = x - (t - shift);
    VF p;
    if (precise) {
        p = 1.53533624e-4f * r + 1.33988745e-3f;
        p = p * r + 9.61843736e-3f;
        p = p * r + 5.55033247e-2f;
        p = p * r + 2.40226479e-1f;
        p = p * r + 6.93147203e-1f;
    } else {
        p = 9.5828535e-3f * r + 5.59064258e-2f;
        p = p * r + 2.40240986e-1f;
        p = p * r + 6.93124193e-1f;
    }
    p = p * r + 1.0f;
    return (VF)((VU)p + ((VU)t << 23));
}

// tanh to 3e-7: a series near 0, where the quotient would cancel; 1 from 20 on.
INLINE VF ISA(tanh)(VF x) {
    VF square = x * x;
    VF series = 2.18694885e-2f * square - 5.39682540e-2f;
    series = series * square + 1.33333333e-1f;
    series = series * square - 3.33333333e-1f;
    series = series * square * x + x;
    VF quotient = 1.0f - 2.0f / (1.0f + ISA(exp2)(ISA(smaller)(ISA(splat)(20.0f), x) * 2.88539008f, true));
    return ISA(select)((VI)(ISA(absolute)(x) < 0.25f), series, quotient);
}

INLINE VF ISA(widen_bf16)(const uint16_t *p) { return (VF)(__builtin_convertvector(*(const VH *)p, VU) << 16); }

// bfloat16 of each float, to nearest even, NaN kept, in the low half of each element.
INLINE VU ISA(round_bf16)(VF x) {
    VU bits = (VU)x;
    VU rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    VU nan = (VU)(x != x);
    return (rounded & ~nan) | (((bits >> 16) | 0x40) & nan);
}
