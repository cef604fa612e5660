// Parameter blocks of the CUDA kernels.
//
// Swift fills these structures and the kernels receive them by value, so both sides read this one file: it is a C header
// for Swift and an NVRTC header for the `.cu` files. Only fixed-size types; NVRTC has no standard headers here.
#ifndef VLM_CUDA_KERNELS_H
#define VLM_CUDA_KERNELS_H

#ifdef __CUDACC_RTC__
typedef signed int int32_t;
typedef unsigned int uint32_t;
typedef signed long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
#else
#include <stdint.h>
#endif

// Device pointers are `void *`, so that Swift sees raw pointers; kernels cast them to the element type they were compiled for.

/// The driver's CUtensorMap: how the copy engine of Hopper finds a tile of a matrix. Opaque; passed by value.
///
/// It is aligned to 64 bytes on the device. Swift cannot hold such types, so on the host it is not: a structure has its maps first,
/// where both agree about every offset.
typedef struct {
#ifdef __CUDACC_RTC__
    __attribute__((aligned(64)))
#endif
    uint64_t words[16];
} vlm_cuda_tensor_map;

#include "vlm_cuda_elementwise.h"
#include "vlm_cuda_linear.h"
#include "vlm_cuda_gemm.h"
#include "vlm_cuda_attention.h"
#include "vlm_cuda_attention_hopper.h"
#include "vlm_cuda_decode.h"
#include "vlm_cuda_sampling.h"
#include "vlm_cuda_images.h"
#include "vlm_cuda_load.h"
#include "vlm_cuda_measure.h"

#endif
