// Parameters of the sampling kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_SAMPLING_H
#define VLM_CUDA_SAMPLING_H

#endif
