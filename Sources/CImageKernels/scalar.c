#include "kernels.h"

static inline int32_t weight(const cik_axis *axis, size_t index) {
    return axis->low ? axis->high[index] * (1 << CIK_SPLIT) + axis->low[index] : axis->high[index];
}

static void horizontal(const uint8_t *row, const cik_axis *axis, uint8_t *target) {
    int32_t half = 1 << (axis->precision - 1);
    for (int32_t output = 0; output < axis->outputs; output++) {
        const uint8_t *pixel = row + 3 * (size_t)axis->starts[output];
        int32_t red = half, green = half, blue = half;
        for (int32_t k = 0; k < axis->taps; k++) {
            int32_t w = weight(axis, (size_t)output * axis->taps + k);
            red += w * pixel[3 * k];
            green += w * pixel[3 * k + 1];
            blue += w * pixel[3 * k + 2];
        }
        target[3 * output] = cik_clip(red >> axis->precision);
        target[3 * output + 1] = cik_clip(green >> axis->precision);
        target[3 * output + 2] = cik_clip(blue >> axis->precision);
    }
}

static void vertical(const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target) {
    enum { block = 256 };
    int32_t sums[block];
    for (size_t start = 0; start < count; start += block) {
        size_t size = count - start < block ? count - start : block;
        for (size_t i = 0; i < size; i++) sums[i] = 1 << (axis->precision - 1);
        for (int32_t k = 0; k < axis->used; k++) {
            int32_t w = weight(axis, (size_t)output * axis->taps + k);
            const uint8_t *row = rows[k] + start;
            for (size_t i = 0; i < size; i++) sums[i] += w * row[i];
        }
        for (size_t i = 0; i < size; i++) target[start + i] = cik_clip(sums[i] >> axis->precision);
    }
}

const cik_row_kernels cik_scalar_kernels = {horizontal, vertical};
