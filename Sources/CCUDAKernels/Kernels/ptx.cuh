// Thin names for PTX instructions that several kernels use.
#pragma once

#include "types.cuh"

// Programmatic dependent launch (sm_90): `wait_for_previous` returns when the kernel before this one in the stream has
// finished and its writes are visible; `allow_next` lets the next kernel start its own preamble. Every kernel that is launched with
// `overlaps` calls `wait_for_previous` before it reads or writes anything that other kernels write.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void allow_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Brings the 128 bytes around an address into the L2 cache.
__device__ __forceinline__ void prefetch_line(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

__device__ __forceinline__ uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

// Sums over the 32 lanes; every lane gets the sum.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

// Sum over a block of whole warps, at most 1024 threads; every thread gets it. `scratch` is 33 floats of shared memory.
__device__ __forceinline__ float block_sum(float x, float *scratch) {
    x = warp_sum(x);
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
    __syncthreads();
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    if (warp == 0) {
        float s = lane < warps ? scratch[lane] : 0.0f;
        s = warp_sum(s);
        if (lane == 0) scratch[32] = s;
    }
    __syncthreads();
    return scratch[32];
}
