#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels.h"

typedef struct {
    int32x4_t red, green, blue;
} pixel_parts;

static inline pixel_parts pixel_sums(const uint8_t *pixels, const int16_t *weights, int32_t taps) {
    // Four RGB pixels to 16-bit samples by channel; an index out of range gives zero.
    static const uint8_t red_green[16] = {0, 255, 3, 255, 6, 255, 9, 255, 1, 255, 4, 255, 7, 255, 10, 255};
    static const uint8_t blue_only[16] = {2, 255, 5, 255, 8, 255, 11, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const uint8x16_t first = vld1q_u8(red_green), second = vld1q_u8(blue_only);
    pixel_parts sums = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int32_t k = 0; k < taps; k += 4) {
        uint8x16_t bytes = vld1q_u8(pixels + 3 * k);
        int16x8_t rg = vreinterpretq_s16_u8(vqtbl1q_u8(bytes, first));
        int16x8_t b = vreinterpretq_s16_u8(vqtbl1q_u8(bytes, second));
        int16x4_t four = vld1_s16(weights + k);
        sums.red = vmlal_s16(sums.red, vget_low_s16(rg), four);
        sums.green = vmlal_s16(sums.green, vget_high_s16(rg), four);
        sums.blue = vmlal_s16(sums.blue, vget_low_s16(b), four);
    }
    return sums;
}

static void horizontal(const uint8_t *row, const cik_axis *axis, uint8_t *target) {
    int32_t half = 1 << (axis->precision - 1), taps = axis->taps;
    for (int32_t output = 0; output < axis->outputs; output++) {
        const uint8_t *pixels = row + 3 * (size_t)axis->starts[output];
        pixel_parts sums = pixel_sums(pixels, axis->high + (size_t)output * taps, taps);
        if (axis->low) {
            pixel_parts low = pixel_sums(pixels, axis->low + (size_t)output * taps, taps);
            sums.red = vaddq_s32(vshlq_n_s32(sums.red, CIK_SPLIT), low.red);
            sums.green = vaddq_s32(vshlq_n_s32(sums.green, CIK_SPLIT), low.green);
            sums.blue = vaddq_s32(vshlq_n_s32(sums.blue, CIK_SPLIT), low.blue);
        }
        target[3 * output] = cik_clip((vaddvq_s32(sums.red) + half) >> axis->precision);
        target[3 * output + 1] = cik_clip((vaddvq_s32(sums.green) + half) >> axis->precision);
        target[3 * output + 2] = cik_clip((vaddvq_s32(sums.blue) + half) >> axis->precision);
    }
}

typedef struct {
    int32x4_t lanes[4];
} block_sums;

static inline void add_row(block_sums *sums, uint8x16_t row, int16_t weight) {
    int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(row)));
    int16x8_t high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(row)));
    sums->lanes[0] = vmlal_n_s16(sums->lanes[0], vget_low_s16(low), weight);
    sums->lanes[1] = vmlal_n_s16(sums->lanes[1], vget_high_s16(low), weight);
    sums->lanes[2] = vmlal_n_s16(sums->lanes[2], vget_low_s16(high), weight);
    sums->lanes[3] = vmlal_n_s16(sums->lanes[3], vget_high_s16(high), weight);
}

static void vertical(const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target) {
    const int32x4_t half = vdupq_n_s32(1 << (axis->precision - 1)), shift = vdupq_n_s32(-axis->precision);
    const int16_t *high = axis->high + (size_t)output * axis->taps;
    const int16_t *low = axis->low ? axis->low + (size_t)output * axis->taps : 0;
    for (size_t start = 0; start + 16 <= count; start += 16) {
        block_sums sums = {{half, half, half, half}};
        if (low) {
            block_sums highs = {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
            for (int32_t k = 0; k < axis->used; k++) {
                uint8x16_t row = vld1q_u8(rows[k] + start);
                add_row(&highs, row, high[k]);
                add_row(&sums, row, low[k]);
            }
            for (int i = 0; i < 4; i++) sums.lanes[i] = vaddq_s32(sums.lanes[i], vshlq_n_s32(highs.lanes[i], CIK_SPLIT));
        } else {
            for (int32_t k = 0; k < axis->used; k++) add_row(&sums, vld1q_u8(rows[k] + start), high[k]);
        }
        int16x8_t words[2];
        for (int i = 0; i < 2; i++) {
            int32x4_t first = vshlq_s32(sums.lanes[2 * i], shift), second = vshlq_s32(sums.lanes[2 * i + 1], shift);
            words[i] = vcombine_s16(vqmovn_s32(first), vqmovn_s32(second));
        }
        vst1q_u8(target + start, vcombine_u8(vqmovun_s16(words[0]), vqmovun_s16(words[1])));
    }
    for (size_t i = count & ~(size_t)15; i < count; i++) {
        int32_t sum = 1 << (axis->precision - 1);
        for (int32_t k = 0; k < axis->used; k++) {
            int32_t weight = low ? high[k] * (1 << CIK_SPLIT) + low[k] : high[k];
            sum += weight * rows[k][i];
        }
        target[i] = cik_clip(sum >> axis->precision);
    }
}

const cik_row_kernels cik_neon_kernels = {horizontal, vertical};

#endif
