#include "ptx.cuh"

// Reads memory as fast as it comes: what memory-bound kernels are held against. A block reads whole runs of 8 pieces per thread.
extern "C" __global__ void __launch_bounds__(512) read_memory(const __grid_constant__ vlm_cuda_read p) {
    constexpr int pieces = 8;
    const uint4 *data = (const uint4 *)p.data;
    int64_t run = (int64_t)blockDim.x * pieces;
    uint32_t sum = 0;
    for (int64_t first = blockIdx.x * run; first < p.count; first += gridDim.x * run) {
        uint4 x[pieces];
#pragma unroll
        for (int i = 0; i < pieces; i++) {
            int64_t at = first + i * (int64_t)blockDim.x + threadIdx.x;
            x[i] = make_uint4(0, 0, 0, 0);
            if (at < p.count) {
                asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                             : "=r"(x[i].x), "=r"(x[i].y), "=r"(x[i].z), "=r"(x[i].w)
                             : "l"(data + at));
            }
        }
#pragma unroll
        for (int i = 0; i < pieces; i++) sum ^= x[i].x ^ x[i].y ^ x[i].z ^ x[i].w;
    }
    // Keeps the reads: the compiler cannot know that the memory is all zero.
    if (sum != 0) *p.result = sum;
}
