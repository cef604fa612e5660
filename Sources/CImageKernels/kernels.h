// The row kernels that every instruction set provides.
#ifndef CIK_ROW_KERNELS_H
#define CIK_ROW_KERNELS_H

#include "CImageKernels.h"

#define CIK_SPLIT 11  // fractional bits of the low plane

// Bytes past the last tap's pixel that a vector load may touch.
#define CIK_SLACK 64

typedef struct {
    /// One row of packed RGB through the horizontal axis. `row` is readable for CIK_SLACK bytes past its last tap.
    void (*horizontal)(const uint8_t *row, const cik_axis *axis, uint8_t *target);
    /// `used` rows (an even number; those with zero weights repeat a valid one) to one row of `count` bytes.
    void (*vertical)(const uint8_t *const *rows, const cik_axis *axis, int32_t output, size_t count, uint8_t *target);
} cik_row_kernels;

extern const cik_row_kernels cik_scalar_kernels;
#if defined(__aarch64__)
extern const cik_row_kernels cik_neon_kernels;
#elif defined(__x86_64__)
extern const cik_row_kernels cik_avx2_kernels;
extern const cik_row_kernels cik_avx512_kernels;
void cik_avx2_horizontal(const uint8_t *row, const cik_axis *axis, uint8_t *target);
#endif

static inline uint8_t cik_clip(int32_t value) { return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value; }

#endif
