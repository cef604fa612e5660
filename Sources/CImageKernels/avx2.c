#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2")))

// Sums of one output pixel: 32-bit lanes r r g g | b b 0 0, each channel in two parts.
AVX2_INLINE __m256i pixel_sums(const uint8_t *pixels, const int16_t *weights, int32_t taps) {
    // Four RGB pixels, as two copies of 16 bytes, to 16-bit r0 r1 r2 r3 g0 g1 g2 g3 | b0 b1 b2 b3 0 0 0 0.
    const __m256i order = _mm256_setr_epi8(
        0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1,
        2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i sums = _mm256_setzero_si256();
    for (int32_t k = 0; k < taps; k += 4) {
        __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(pixels + 3 * k)));
        int64_t four;
        memcpy(&four, weights + k, sizeof four);
        __m256i samples = _mm256_shuffle_epi8(bytes, order);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(samples, _mm256_set1_epi64x(four)));
    }
    return sums;
}

// The parts of r, g and b added: 32-bit r g b 0.
AVX2_INLINE __m128i gathered(__m256i sums) {
    __m256i pairs = _mm256_hadd_epi32(sums, sums);
    return _mm_unpacklo_epi64(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

AVX2_INLINE void horizontal_planes(const uint8_t *row, const cik_axis *axis, uint8_t *target, int two_planes) {
    const __m128i half = _mm_set1_epi32(1 << (axis->precision - 1));
    const __m128i shift = _mm_cvtsi32_si128(axis->precision);
    int32_t taps = axis->taps, last = axis->outputs - 1;
    for (int32_t output = 0; output <= last; output++) {
        const uint8_t *pixels = row + 3 * (size_t)axis->starts[output];
        __m128i sum = gathered(pixel_sums(pixels, axis->high + (size_t)output * taps, taps));
        if (two_planes) {
            __m128i low = gathered(pixel_sums(pixels, axis->low + (size_t)output * taps, taps));
            sum = _mm_add_epi32(_mm_slli_epi32(sum, CIK_SPLIT), low);
        }
        sum = _mm_sra_epi32(_mm_add_epi32(sum, half), shift);
        __m128i packed = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
        uint32_t rgb = (uint32_t)_mm_cvtsi128_si32(packed);
        // Four bytes are written; the fourth is the next pixel's, which follows.
        memcpy(target + 3 * output, &rgb, output < last ? 4 : 3);
    }
}

AVX2 static void horizontal(const uint8_t *row, const cik_axis *axis, uint8_t *target) {
    if (axis->low) {
        horizontal_planes(row, axis, target, 1);
    } else {
        horizontal_planes(row, axis, target, 0);
    }
}

typedef struct {
    __m256i lanes[4];
} block_sums;

AVX2_INLINE void add_rows(block_sums *sums, __m256i first, __m256i second, __m256i weights) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i low = _mm256_unpacklo_epi8(first, second), high = _mm256_unpackhi_epi8(first, second);
    __m256i parts[4] = {
        _mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
        _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};
    for (int i = 0; i < 4; i++) {
        sums->lanes[i] = _mm256_add_epi32(sums->lanes[i], _mm256_madd_epi16(parts[i], weights));
    }
}

AVX2_INLINE __m256i weight_pair(const int16_t *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return _mm256_set1_epi32(pair);
}

AVX2_INLINE void vertical_planes(
    const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target, int two_planes) {
    const __m256i half = _mm256_set1_epi32(1 << (axis->precision - 1));
    const __m128i shift = _mm_cvtsi32_si128(axis->precision);
    const int16_t *high = axis->high + (size_t)output * axis->taps;
    const int16_t *low = two_planes ? axis->low + (size_t)output * axis->taps : high;
    for (size_t start = 0; start + 32 <= count; start += 32) {
        block_sums sums = {{half, half, half, half}}, lows = sums;
        if (two_planes) memset(&sums, 0, sizeof sums);
        for (int32_t k = 0; k < axis->taps; k += 2) {
            __m256i first = _mm256_loadu_si256((const __m256i *)(rows[k] + start));
            __m256i second = _mm256_loadu_si256((const __m256i *)(rows[k + 1] + start));
            add_rows(&sums, first, second, weight_pair(high + k));
            if (two_planes) add_rows(&lows, first, second, weight_pair(low + k));
        }
        for (int i = 0; i < 4; i++) {
            if (two_planes) sums.lanes[i] = _mm256_add_epi32(_mm256_slli_epi32(sums.lanes[i], CIK_SPLIT), lows.lanes[i]);
            sums.lanes[i] = _mm256_sra_epi32(sums.lanes[i], shift);
        }
        __m256i words0 = _mm256_packs_epi32(sums.lanes[0], sums.lanes[1]);
        __m256i words1 = _mm256_packs_epi32(sums.lanes[2], sums.lanes[3]);
        _mm256_storeu_si256((__m256i *)(target + start), _mm256_packus_epi16(words0, words1));
    }
    for (size_t i = count & ~(size_t)31; i < count; i++) {
        int32_t sum = 1 << (axis->precision - 1);
        for (int32_t k = 0; k < axis->taps; k++) {
            int32_t weight = two_planes ? high[k] * (1 << CIK_SPLIT) + low[k] : high[k];
            sum += weight * rows[k][i];
        }
        target[i] = cik_clip(sum >> axis->precision);
    }
}

AVX2 static void vertical(const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target) {
    if (axis->low) {
        vertical_planes(rows, axis, output, count, target, 1);
    } else {
        vertical_planes(rows, axis, output, count, target, 0);
    }
}

const cik_row_kernels cik_avx2_kernels = {horizontal, vertical};

#endif
