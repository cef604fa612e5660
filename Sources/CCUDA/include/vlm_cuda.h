// The CUDA libraries as tables of functions, opened at run time: nothing of CUDA is needed to build or to start.
#ifndef VLM_CUDA_H
#define VLM_CUDA_H

#endif
