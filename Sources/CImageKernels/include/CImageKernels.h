// SIMD kernels of image preprocessing: separable resampling of packed RGB, and normalisation.
//
// Each has a portable form and forms for instruction sets that are picked at run time; all give the same bytes.
#ifndef CIMAGE_KERNELS_H
#define CIMAGE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Which instructions to use. `CIK_BEST` asks the processor; the others exist so that tests can compare them.
typedef enum {
    CIK_BEST = 0,
    CIK_SCALAR = 1,
    CIK_NEON = 2,    // every 64-bit ARM
    CIK_AVX2 = 3,
    CIK_AVX512 = 4,  // with BW
} cik_level;

/// Whether this processor runs a level.
int cik_supports(cik_level level);

/// The filter of one axis: output i is the sum over k < taps of weights[i * taps + k] * input[starts[i] + k].
///
/// Weights are fixed-point integers. With `low` they come in two 16-bit planes, weight = high * 2^11 + low, which holds the
/// 22 fractional bits that Pillow uses; without it `high` alone is the weight, as in PyTorch. `taps` is a multiple of 4,
/// filled up with zero weights that may reach past the last input sample.
typedef struct {
    const int32_t *starts;
    const int16_t *high;
    const int16_t *low;  // NULL: none
    int32_t taps;
    int32_t used;        // taps that may have a weight, rounded up to an even number; the rest are filling
    int32_t precision;   // fractional bits; the sum is rounded half up and clipped to 0...255
    int32_t outputs;
} cik_axis;

/// Resamples packed RGB [height, width, 3] to [vertical->outputs, horizontal->outputs, 3], the horizontal axis first and
/// rounded to bytes between the axes. A NULL axis keeps its size. `scratch` holds `cik_resize_scratch` bytes.
void cik_resize_rgb(
    const uint8_t *source, int32_t width, int32_t height, const cik_axis *horizontal, const cik_axis *vertical,
    uint8_t *target, uint8_t *scratch, cik_level level);

/// Bytes of working memory for `cik_resize_rgb`.
size_t cik_resize_scratch(int32_t width, int32_t height, const cik_axis *horizontal, const cik_axis *vertical);

/// Asks for large pages under a buffer that is about to be written, where the system grants them on request (Linux): first
/// touching hundreds of megabytes 4 KiB at a time costs more than computing them.
void cik_prefer_large_pages(void *start, size_t count);

#ifdef __cplusplus
}
#endif

#endif
