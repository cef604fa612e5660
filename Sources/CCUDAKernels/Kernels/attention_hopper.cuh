// What attention needs of Hopper's instructions beyond hopper.cuh: copies out of three axes, and products whose left side is in
// registers.
#pragma once

#include "hopper.cuh"

#if __CUDA_ARCH_FEAT_SM90_ALL

// Counts at named barrier `id` without waiting; see named_barrier.
__device__ __forceinline__ void named_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The box at (x, y, z), innermost axis first, comes to `shared`; its bytes count at `barrier`. Outside the tensor: zeros.
__device__ __forceinline__ void load_box(
    uint32_t shared, const vlm_cuda_tensor_map *map, int x, int y, int z, uint32_t barrier) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared),
        "l"((uint64_t)map), "r"(x), "r"(y), "r"(z), "r"(barrier)
        : "memory");
}

// Describes an operand whose summed axis runs across rows of 128 bytes (64 elements of the other axis), swizzled by 128 bytes: 1024
// bytes from one group of eight rows to the next, `apart` bytes from 64 columns to the next 64. `address` is a multiple of 1024, with
// 2048 bytes for each step of 16 rows.
__device__ __forceinline__ uint64_t operand_across(uint32_t address, uint32_t apart) {
    return (uint64_t)((address & 0x3ffff) >> 4) | ((uint64_t)(apart >> 4) << 16) | ((uint64_t)(1024 >> 4) << 32) | (1ull << 62);
}

// Keeps the compiler from moving uses of accumulators across a wait.
template <int COUNT>
__device__ __forceinline__ void pin(float (&d)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// d[64, N] += a[64, 16] * b[16, N], `b` described by operand_across. A thread holds of `a`, as pairs of columns 2(t % 4) + {0, 1}: its
// row, the row 8 below, then both again 8 columns further. So accumulators 8i ..< 8i + 8 of a product, rounded in order, are the
// left side of step i of the next.
template <int N>
struct wgmma_across;

#define WGMMA_ACROSS(N, NAMES, LIST, A0, A1, A2, A3, B)                                                                      \
    template <>                                                                                                              \
    struct wgmma_across<N> {                                                                                                 \
        static __device__ __forceinline__ void multiply(float (&d)[N / 2], const uint32_t *a, uint64_t b) {                  \
            asm volatile(                                                                                                    \
                "{\n.reg .pred p;\n"                                                                                         \
                "setp.eq.b32 p, 0, 0;\n"                                                                                     \
                "wgmma.mma_async.sync.aligned.m64n" #N "k16." WGMMA_TYPES " {" NAMES "}, {" A0 ", " A1 ", " A2 ", " A3 "}, " \
                B ", p, 1, 1, 1;\n}"                                                                                         \
                : LIST(d)                                                                                                    \
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                                       \
        }                                                                                                                    \
    };
#define WGMMA_LIST_72(d) WGMMA_LIST_64(d), WGMMA_D4(d, 32)
#define WGMMA_LIST_88(d) WGMMA_LIST_80(d), WGMMA_D4(d, 40)
WGMMA_ACROSS(64, WGMMA_NAMES_64, WGMMA_LIST_64, "%32", "%33", "%34", "%35", "%36")
WGMMA_ACROSS(72, WGMMA_NAMES_64 ", %32, %33, %34, %35", WGMMA_LIST_72, "%36", "%37", "%38", "%39", "%40")
WGMMA_ACROSS(80, WGMMA_NAMES_80, WGMMA_LIST_80, "%40", "%41", "%42", "%43", "%44")
WGMMA_ACROSS(88, WGMMA_NAMES_80 ", %40, %41, %42, %43", WGMMA_LIST_88, "%44", "%45", "%46", "%47", "%48")
WGMMA_ACROSS(96, WGMMA_NAMES_96, WGMMA_LIST_96, "%48", "%49", "%50", "%51", "%52")
WGMMA_ACROSS(128, WGMMA_NAMES_128, WGMMA_LIST_128, "%64", "%65", "%66", "%67", "%68")

__device__ __forceinline__ float exp2_approximate(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
