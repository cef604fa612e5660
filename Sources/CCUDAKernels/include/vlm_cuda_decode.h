// Parameters of the kernels in decode_attention.cu; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_DECODE_H
#define VLM_CUDA_DECODE_H

#endif
