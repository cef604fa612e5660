// The text of the CUDA kernels, compiled into the binary.
#ifndef VLM_CUDA_SOURCES_H
#define VLM_CUDA_SOURCES_H

#include <stddef.h>

/// One embedded file: a `.cu` program, or a header that programs include by name.
typedef struct {
    const char *name;
    /// Zero-terminated.
    const char *text;
    size_t length;
} vlm_cuda_source;

/// All embedded files.
const vlm_cuda_source *vlm_cuda_sources(size_t *count);

#endif
