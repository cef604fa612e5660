// Parameters of the kernels in load.cu; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_LOAD_H
#define VLM_CUDA_LOAD_H

#endif
