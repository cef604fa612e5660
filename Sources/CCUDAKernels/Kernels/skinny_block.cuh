// The shape of the skinny product, its barriers, and where a block has what.
#pragma once

#include "epilogue.cuh"

namespace skinny_shape {
constexpr int element = sizeof(element_t);
constexpr int consumers = VLM_CUDA_SKINNY_CONSUMERS;      // warps that multiply
constexpr int threads = consumers * 32;                   // and their threads
constexpr int tile = VLM_CUDA_SKINNY_TILE_ROWS;
constexpr int chunk = VLM_CUDA_SKINNY_CHUNK_BYTES / element;  // columns of a unit
constexpr int box = VLM_CUDA_SKINNY_BOX_BYTES;            // a stage is two boxes, each of `tile` rows
constexpr int stage = VLM_CUDA_SKINNY_STAGE_BYTES;
constexpr int span = chunk / consumers;                   // columns of a warp: two groups
constexpr int granule = 16 / element;                     // columns in 16 bytes, what a lane reads at once
constexpr int group = 4 * granule;                        // columns that four lanes read
constexpr int result_pitch = VLM_CUDA_SKINNY_RESULT_PITCH;
}  // namespace skinny_shape

__device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ bool barrier_passed(uint32_t barrier, uint32_t parity) {
    uint32_t done;
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
#else
    asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
#endif
    return done;
}
// With VLM_WATCHDOG a wait that does not end within seconds traps, so that a mistake is an error and not a hang.
__device__ __forceinline__ void count_wait(uint32_t &tries) {
#if VLM_WATCHDOG
    if (++tries > 4000000) asm volatile("trap;");
#endif
}
__device__ __forceinline__ void wait_until_passed(uint32_t barrier, uint32_t parity) {
    uint32_t tries = 0;
    while (!barrier_passed(barrier, parity)) count_wait(tries);
}
// Among the warps that multiply.
__device__ __forceinline__ void consumers_meet() { asm volatile("bar.sync 1, %0;" ::"n"(skinny_shape::threads) : "memory"); }

__device__ __forceinline__ uint32_t load_flag(const uint32_t *flag) {
    uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(flag) : "memory");
    return v;
}
__device__ __forceinline__ void store_flag(uint32_t *flag, uint32_t v) {
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flag), "r"(v) : "memory");
}

#if __CUDA_ARCH__ >= 900
// A box of the weight, its corner at `column` and `row`; what lies outside the weight is zero.
__device__ __forceinline__ void load_box(
    const vlm_cuda_linear &p, uint32_t target, int column, int row, uint32_t barrier, uint64_t policy) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(target),
        "l"(&p.weight_map), "r"(column), "r"(row), "r"(barrier), "l"(policy)
        : "memory");
}
#endif

// Where everything lies in shared memory, and this block's share.
struct SkinnyBlock {
    uint32_t full, empty, ring, x, results;  // shared addresses
    int stages, chunks, low, high;           // units low ..< high

    __device__ __forceinline__ SkinnyBlock(const vlm_cuda_linear &p, uint32_t shared) {
        using namespace skinny_shape;
        stages = p.stages;
        full = shared;
        empty = shared + 8 * VLM_CUDA_SKINNY_MAX_STAGES;
        ring = shared + VLM_CUDA_SKINNY_HEADER_BYTES;
        results = ring + stages * stage;
        x = results + 2 * consumers * p.rows * result_pitch * 4;
        chunks = (p.in_features + chunk - 1) / chunk;
        low = blockIdx.x * p.share;
        high = min(low + p.share, (p.weight_rows + tile - 1) / tile * chunks);
    }

    // The block that has unit `u`.
    __device__ __forceinline__ int owner(const vlm_cuda_linear &p, int u) const { return u / p.share; }
};
