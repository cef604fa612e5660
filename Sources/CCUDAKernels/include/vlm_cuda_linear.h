// Parameters of the linear kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_LINEAR_H
#define VLM_CUDA_LINEAR_H

#endif
