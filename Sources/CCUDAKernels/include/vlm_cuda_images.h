// Parameters of the images kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_IMAGES_H
#define VLM_CUDA_IMAGES_H

/// Patches of 8-bit pictures as rows of numbers.
typedef struct {
    /// Red, green and blue of each pixel, pictures one after another.
    const uint8_t *pixels;
    /// float32 `[3, 256]`: what each sample becomes.
    const float *samples;
    /// `[rows, 2]`: the first pixel of each patch, negative for a row of zeros, and the pixels in a line of its picture.
    const int32_t *corners;
    /// `[rows, 3, frames, patch, patch]`
    void *out;
    int64_t pixel_count;
    /// Elements between rows.
    int64_t out_stride;
    uint32_t rows;
    /// Pixels in a patch's side.
    int32_t patch;
    int32_t frames;
} vlm_cuda_patch_rows;

/// One axis of a resize: `source [outer, length, inner]` to `out [outer, outputs, inner]`, bytes.
typedef struct {
    const uint8_t *source;
    uint8_t *out;
    /// `[outputs]`
    const int32_t *starts;
    /// `[outputs, taps]`, with `precision` fractional bits.
    const int32_t *weights;
    int64_t length;
    uint32_t outer;
    uint32_t outputs;
    uint32_t inner;
    int32_t taps;
    int32_t precision;
} vlm_cuda_resample;

#endif
