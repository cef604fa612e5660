#include <string.h>

#include "kernels.h"

// The kernels of a level; NULL where the processor lacks it.
static const cik_row_kernels *kernels(cik_level level) {
    switch (level) {
    case CIK_SCALAR: return &cik_scalar_kernels;
#if defined(__aarch64__)
    case CIK_BEST:
    case CIK_NEON: return &cik_neon_kernels;
#elif defined(__x86_64__)
    case CIK_AVX2:
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") ? &cik_avx2_kernels : NULL;
    case CIK_AVX512: {
        __builtin_cpu_init();
        int complete = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
        return complete ? &cik_avx512_kernels : NULL;
    }
    case CIK_BEST: {
        const cik_row_kernels *best = kernels(CIK_AVX512);
        if (!best) best = kernels(CIK_AVX2);
        return best ? best : &cik_scalar_kernels;
    }
#else
    case CIK_BEST: return &cik_scalar_kernels;
#endif
    default: return NULL;
    }
}

int cik_supports(cik_level level) { return kernels(level) != NULL; }

static size_t line_bytes(int32_t pixels) { return (size_t)pixels * 3 + CIK_SLACK; }

// A window of resampled rows: those that one output row reads. Starts never decrease, so rows come in order, and each is
// made once.
static int32_t window_rows(int32_t height, const cik_axis *vertical) {
    return vertical->used < height ? vertical->used : height;
}

size_t cik_resize_scratch(int32_t width, int32_t height, const cik_axis *horizontal, const cik_axis *vertical) {
    int32_t taps = horizontal ? horizontal->taps : 0;
    size_t padded = line_bytes(width + taps);
    size_t window = horizontal && vertical ? window_rows(height, vertical) * line_bytes(horizontal->outputs) : 0;
    size_t pointers = vertical ? (size_t)vertical->used * sizeof(void *) : 0;
    return pointers + padded + window + 64;
}

void cik_resize_rgb(
    const uint8_t *source, int32_t width, int32_t height, const cik_axis *horizontal, const cik_axis *vertical,
    uint8_t *target, uint8_t *scratch, cik_level level) {
    const cik_row_kernels *rows = kernels(level);
    if (!rows) rows = &cik_scalar_kernels;
    size_t stride = (size_t)width * 3;
    if (!horizontal && !vertical) {
        memcpy(target, source, stride * height);
        return;
    }
    const uint8_t **pointers = (const uint8_t **)scratch;
    uint8_t *padded = scratch + (vertical ? (size_t)vertical->used * sizeof(void *) : 0);
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
        int32_t past = first + vertical->used < height ? first + vertical->used : height;
        if (horizontal) {
            if (made < first) made = first;
            for (; made < past; made++) {
                const uint8_t *row = source + stride * made;
                if ((size_t)(end - row) < reach) row = memcpy(padded, row, stride);
                rows->horizontal(row, horizontal, window + (size_t)(made % capacity) * window_stride);
            }
        }
        for (int32_t k = 0; k < vertical->used; k++) {
            int32_t index = first + k < past ? first + k : past - 1;  // only zero weights lie past the end
            pointers[k] = horizontal ? window + (size_t)(index % capacity) * window_stride : source + stride * index;
        }
        rows->vertical(pointers, vertical, y, out_stride, target + out_stride * y);
    }
}
