#include <string.h>

#include "kernels.h"

cik_level cik_best_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) return CIK_AVX2;
#endif
    return CIK_SCALAR;
}

static const cik_row_kernels *kernels(cik_level level) {
    cik_level best = cik_best_level();
    if (level == CIK_BEST || level > best) level = best;
#if defined(__x86_64__)
    if (level >= CIK_AVX2) return &cik_avx2_kernels;
#endif
    return &cik_scalar_kernels;
}

static size_t line_bytes(int32_t pixels) { return (size_t)pixels * 3 + CIK_SLACK; }

// A window of resampled rows: those that one output row reads. Starts never decrease, so rows come in order, and each is
// made once.
static int32_t window_rows(int32_t height, const cik_axis *vertical) {
    return vertical->taps < height ? vertical->taps : height;
}

size_t cik_resize_scratch(int32_t width, int32_t height, const cik_axis *horizontal, const cik_axis *vertical) {
    int32_t taps = horizontal ? horizontal->taps : 0;
    size_t padded = line_bytes(width + taps);
    size_t window = horizontal && vertical ? window_rows(height, vertical) * line_bytes(horizontal->outputs) : 0;
    size_t pointers = vertical ? (size_t)vertical->taps * sizeof(void *) : 0;
    return pointers + padded + window + 64;
}

void cik_resize_rgb(
    const uint8_t *source, int32_t width, int32_t height, const cik_axis *horizontal, const cik_axis *vertical,
    uint8_t *target, uint8_t *scratch, cik_level level) {
    const cik_row_kernels *rows = kernels(level);
    size_t stride = (size_t)width * 3;
    if (!horizontal && !vertical) {
        memcpy(target, source, stride * height);
        return;
    }
    const uint8_t **pointers = (const uint8_t **)scratch;
    uint8_t *padded = scratch + (vertical ? (size_t)vertical->taps * sizeof(void *) : 0);
    uint8_t *window = padded + line_bytes(width + (horizontal ? horizontal->taps : 0));
    const uint8_t *end = source + stride * height;
    size_t reach = horizontal ? stride + 3 * (size_t)horizontal->taps + CIK_SLACK : 0;
    if (horizontal) memset(padded, 0, line_bytes(width + horizontal->taps));

    if (!vertical) {
        for (int32_t y = 0; y < height; y++) {
            const uint8_t *row = source + stride * y;
            // The last rows are copied to where vector loads may run past their end.
            if ((size_t)(end - row) < reach) row = memcpy(padded, row, stride);
            rows->horizontal(row, horizontal, target + (size_t)y * horizontal->outputs * 3);
        }
        return;
    }

    int32_t out_width = horizontal ? horizontal->outputs : width;
    size_t out_stride = (size_t)out_width * 3, window_stride = line_bytes(out_width);
    int32_t capacity = window_rows(height, vertical), made = 0;
    for (int32_t y = 0; y < vertical->outputs; y++) {
        int32_t first = vertical->starts[y];
        int32_t past = first + vertical->taps < height ? first + vertical->taps : height;
        if (horizontal) {
            if (made < first) made = first;
            for (; made < past; made++) {
                const uint8_t *row = source + stride * made;
                if ((size_t)(end - row) < reach) row = memcpy(padded, row, stride);
                rows->horizontal(row, horizontal, window + (size_t)(made % capacity) * window_stride);
            }
        }
        for (int32_t k = 0; k < vertical->taps; k++) {
            int32_t index = first + k < past ? first + k : past - 1;  // only zero weights lie past the end
            pointers[k] = horizontal ? window + (size_t)(index % capacity) * window_stride : source + stride * index;
        }
        rows->vertical(pointers, vertical, y, out_stride, target + out_stride * y);
    }
}
