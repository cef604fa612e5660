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

#endif
