// Parameters of the images kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_IMAGES_H
#define VLM_CUDA_IMAGES_H

#endif
