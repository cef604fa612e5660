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

// Two pixels with their parts added: 32-bit r g R G | b 0 B 0.
AVX2_INLINE __m256i pixel_pair(
    const uint8_t *row, const cik_axis *axis, const int16_t *weights, const int32_t *outputs) {
    __m256i sums[2];
    for (int i = 0; i < 2; i++) {
        const uint8_t *pixels = row + 3 * (size_t)axis->starts[outputs[i]];
        sums[i] = pixel_sums(pixels, weights + (size_t)outputs[i] * axis->taps, axis->taps);
    }
    return _mm256_hadd_epi32(sums[0], sums[1]);
}

AVX2_INLINE void horizontal_planes(const uint8_t *row, const cik_axis *axis, uint8_t *target, int two_planes) {
    const __m256i half = _mm256_set1_epi32(1 << (axis->precision - 1));
    const __m128i shift = _mm_cvtsi32_si128(axis->precision);
    // Bytes of four pixels, r g r g r g r g and b 0 b 0 b 0 b 0, to RGB.
    const __m128i rgb = _mm_setr_epi8(0, 1, 8, 2, 3, 10, 4, 5, 12, 6, 7, 14, -1, -1, -1, -1);
    int32_t last = axis->outputs - 1;
    for (int32_t output = 0; output <= last; output += 4) {
        // Past the end the last pixel is computed again and not stored.
        int32_t four[4];
        for (int32_t i = 0; i < 4; i++) four[i] = output + i < last ? output + i : last;
        __m256i pairs[2];
        for (int i = 0; i < 2; i++) {
            pairs[i] = pixel_pair(row, axis, axis->high, four + 2 * i);
            if (two_planes) {
                __m256i low = pixel_pair(row, axis, axis->low, four + 2 * i);
                pairs[i] = _mm256_add_epi32(_mm256_slli_epi32(pairs[i], CIK_SPLIT), low);
            }
            pairs[i] = _mm256_sra_epi32(_mm256_add_epi32(pairs[i], half), shift);
        }
        __m256i words = _mm256_packs_epi32(pairs[0], pairs[1]);
        __m256i bytes = _mm256_packus_epi16(words, words);
        __m128i mixed = _mm_unpacklo_epi64(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
        __m128i pixels = _mm_shuffle_epi8(mixed, rgb);
        // Sixteen bytes are written where the pixels after these four, still to come, take the surplus.
        if (output + 6 <= axis->outputs) {
            _mm_storeu_si128((__m128i *)(target + 3 * (size_t)output), pixels);
        } else {
            uint8_t kept[16];
            _mm_storeu_si128((__m128i *)kept, pixels);
            int32_t count = axis->outputs - output < 4 ? axis->outputs - output : 4;
            memcpy(target + 3 * (size_t)output, kept, 3 * (size_t)count);
        }
    }
}

AVX2 void cik_avx2_horizontal(const uint8_t *row, const cik_axis *axis, uint8_t *target) {
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
        for (int32_t k = 0; k < axis->used; k += 2) {
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
        for (int32_t k = 0; k < axis->used; k++) {
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

const cik_row_kernels cik_avx2_kernels = {cik_avx2_horizontal, vertical};

#endif
