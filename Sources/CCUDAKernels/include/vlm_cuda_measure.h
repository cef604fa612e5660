// Parameters of kernels that measure the device; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_MEASURE_H
#define VLM_CUDA_MEASURE_H

typedef struct {
    /// 16-byte aligned.
    const void *data;
    /// One word that is written if the data sum up to a number they never have.
    uint32_t *result;
    /// Pieces of 16 bytes.
    int64_t count;
} vlm_cuda_read;

#endif
