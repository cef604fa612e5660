// Parameters of the kernels in gemm.cu; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_GEMM_H
#define VLM_CUDA_GEMM_H

#endif
