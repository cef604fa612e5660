// Parameters of the kernels in attention_hopper.cu; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_ATTENTION_HOPPER_H
#define VLM_CUDA_ATTENTION_HOPPER_H

#endif
