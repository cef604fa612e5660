// Parameters of the attention kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_ATTENTION_H
#define VLM_CUDA_ATTENTION_H

#endif
