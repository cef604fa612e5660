#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#define AVX512_FEATURES "avx512f,avx512bw"
#define AVX512 __attribute__((target(AVX512_FEATURES)))
#define AVX512_INLINE static inline __attribute__((always_inline, target(AVX512_FEATURES)))

typedef struct {
    __m512i lanes[4];
} block_sums;

AVX512_INLINE void add_rows(block_sums *sums, __m512i first, __m512i second, __m512i weights) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i low = _mm512_unpacklo_epi8(first, second), high = _mm512_unpackhi_epi8(first, second);
    __m512i parts[4] = {
        _mm512_unpacklo_epi8(low, zero), _mm512_unpackhi_epi8(low, zero),
        _mm512_unpacklo_epi8(high, zero), _mm512_unpackhi_epi8(high, zero)};
    for (int i = 0; i < 4; i++) {
        sums->lanes[i] = _mm512_add_epi32(sums->lanes[i], _mm512_madd_epi16(parts[i], weights));
    }
}

AVX512_INLINE __m512i weight_pair(const int16_t *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return _mm512_set1_epi32(pair);
}

AVX512_INLINE void vertical_planes(
    const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target, int two_planes) {
    const __m512i half = _mm512_set1_epi32(1 << (axis->precision - 1));
    const __m128i shift = _mm_cvtsi32_si128(axis->precision);
    const int16_t *high = axis->high + (size_t)output * axis->taps;
    const int16_t *low = two_planes ? axis->low + (size_t)output * axis->taps : high;
    for (size_t start = 0; start < count; start += 64) {
        // The last block is partial: masked loads and stores touch only what is there.
        __mmask64 mask = count - start >= 64 ? ~0ull : (1ull << (count - start)) - 1;
        block_sums sums = {{half, half, half, half}}, lows = sums;
        if (two_planes) memset(&sums, 0, sizeof sums);
        for (int32_t k = 0; k < axis->used; k += 2) {
            __m512i first = _mm512_maskz_loadu_epi8(mask, rows[k] + start);
            __m512i second = _mm512_maskz_loadu_epi8(mask, rows[k + 1] + start);
            add_rows(&sums, first, second, weight_pair(high + k));
            if (two_planes) add_rows(&lows, first, second, weight_pair(low + k));
        }
        for (int i = 0; i < 4; i++) {
            if (two_planes) sums.lanes[i] = _mm512_add_epi32(_mm512_slli_epi32(sums.lanes[i], CIK_SPLIT), lows.lanes[i]);
            sums.lanes[i] = _mm512_sra_epi32(sums.lanes[i], shift);
        }
        __m512i words0 = _mm512_packs_epi32(sums.lanes[0], sums.lanes[1]);
        __m512i words1 = _mm512_packs_epi32(sums.lanes[2], sums.lanes[3]);
        _mm512_mask_storeu_epi8(target + start, mask, _mm512_packus_epi16(words0, words1));
    }
}

AVX512 static void vertical(const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target) {
    if (axis->low) {
        vertical_planes(rows, axis, output, count, target, 1);
    } else {
        vertical_planes(rows, axis, output, count, target, 0);
    }
}

// A pixel's few taps fill no 512-bit register: horizontally 256 bits were measured to be faster.
const cik_row_kernels cik_avx512_kernels = {cik_avx2_horizontal, vertical};

#endif
