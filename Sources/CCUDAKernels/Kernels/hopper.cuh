// Names for the instructions that only Hopper (sm_90a) has: barriers in shared memory that count bytes, bulk copies of tiles by
// tensor map, and the matrix multiplication of four warps (wgmma). PTX ISA, sections on mbarrier, cp.async.bulk and wgmma.
//
// With VLM_WATCHDOG a wait that does not end within seconds traps, so that a mistake is an error and not a hang.
#pragma once

#include "ptx.cuh"

#if __CUDA_ARCH_FEAT_SM90_ALL

// MARK: Barriers in shared memory

__device__ __forceinline__ void barrier_init(uint32_t barrier, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the copy engine and to the other blocks of the cluster.
__device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives at the barrier at the same place in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ void barrier_arrive_in(uint32_t barrier, uint32_t rank) {
    asm volatile(
        "{\n.reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
        "r"(rank)
        : "memory");
}
// One arrival, and `bytes` more that copies will bring before the phase ends.
__device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ bool barrier_try(uint32_t barrier, uint32_t parity) {
    uint32_t done;
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
    return done != 0;
}
// Returns when the phase of this parity has ended.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
#if VLM_WATCHDOG
    for (int tries = 0; !barrier_try(barrier, parity); tries++) {
        if (tries > 4000000) asm volatile("trap;");
    }
#else
    while (!barrier_try(barrier, parity)) {
    }
#endif
}

// A barrier of some warps of a block: `threads` of them at number `id` (1...15).
__device__ __forceinline__ void named_barrier(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// MARK: Clusters

__device__ __forceinline__ uint32_t cluster_rank() {
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
__device__ __forceinline__ uint32_t cluster_blocks() {
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(r));
    return r;
}
__device__ __forceinline__ void store_shared(uint32_t address, float4 v) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w) : "memory");
}
// From the same place in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ float4 load_shared_of(uint32_t address, uint32_t rank) {
    float4 v;
    asm volatile(
        "{\n.reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %4, %5;\n"
        "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n}"
        : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
        : "r"(address), "r"(rank)
        : "memory");
    return v;
}
__device__ __forceinline__ void cluster_sync() {
    asm volatile(
        "barrier.cluster.arrive.release.aligned;\n"
        "barrier.cluster.wait.acquire.aligned;" ::
            : "memory");
}

// MARK: Bulk copies of tiles

__device__ __forceinline__ void prefetch_map(const vlm_cuda_tensor_map *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"((uint64_t)map) : "memory");
}
// How long a copy's bytes are worth keeping in the second-level cache.
enum cache_hint_t : uint64_t {
    EVICT_NORMAL = 0x1000000000000000ull,
    EVICT_FIRST = 0x12F0000000000000ull,
    EVICT_LAST = 0x14F0000000000000ull
};
// The tile at column `x`, row `y` of the matrix comes to `shared`; its bytes count at `barrier`. Outside the matrix: zeros.
__device__ __forceinline__ void load_tile(
    uint32_t shared, const vlm_cuda_tensor_map *map, int x, int y, uint32_t barrier, uint64_t hint) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared),
        "l"((uint64_t)map), "r"(x), "r"(y), "r"(barrier), "l"(hint)
        : "memory");
}
// The same into every block of the cluster whose bit is in `blocks`, each counting at its own barrier.
__device__ __forceinline__ void load_tile_multicast(
    uint32_t shared, const vlm_cuda_tensor_map *map, int x, int y, uint32_t barrier, uint16_t blocks, uint64_t hint) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint"
        " [%0], [%1, {%2, %3}], [%4], %5, %6;" ::"r"(shared),
        "l"((uint64_t)map), "r"(x), "r"(y), "r"(barrier), "h"(blocks), "l"(hint)
        : "memory");
}
// Shared memory to the tile at column `x`, row `y`; what lies outside the matrix is not written.
__device__ __forceinline__ void store_tile(uint32_t shared, const vlm_cuda_tensor_map *map, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"((uint64_t)map),
                 "r"(shared), "r"(x), "r"(y)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// Waits until at most N of this thread's stores have yet to read shared memory.
template <int N>
__device__ __forceinline__ void wait_stores_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
// Orders this thread's ordinary accesses to shared memory before later ones of the copy engine and the tensor cores.
__device__ __forceinline__ void fence_async_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// MARK: 8x8 matrices of 16-bit elements between registers and shared memory

// Transposed: the row whose address lane i of group m gives is column i of matrix m as mma's fragments hold it.
__device__ __forceinline__ void store_transposed(uint32_t address, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b), "r"(c),
                 "r"(d)
                 : "memory");
}
__device__ __forceinline__ void store_transposed(uint32_t address, uint32_t a, uint32_t b) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(a), "r"(b) : "memory");
}
__device__ __forceinline__ void store_transposed(uint32_t address, uint32_t a) {
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(address), "r"(a) : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t address, uint32_t &a, uint32_t &b) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(a), "=r"(b)
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ uint32_t transposed(uint32_t pair) {
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(pair));
    return r;
}

// MARK: Matrix multiplication by four warps

// Describes an operand in shared memory of rows of 128 bytes (64 elements of the summed axis), swizzled by 128 bytes as the copy
// engine writes it: address, 1024 bytes from one group of eight rows to the next, swizzle mode 1. `address` is a multiple of 1024,
// plus 32 bytes for each step of 16 elements along the rows.
__device__ __forceinline__ uint64_t operand(uint32_t address) {
    return (uint64_t)((address & 0x3ffff) >> 4) | (1ull << 16) | ((uint64_t)(1024 >> 4) << 32) | (1ull << 62);
}
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

template <int COUNT>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT>
__device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

#if VLM_ELEMENT == 1
#define WGMMA_TYPES "f32.f16.f16"
#else
#define WGMMA_TYPES "f32.bf16.bf16"
#endif

// d[64, N] (+)= a[64, 16] * b[N, 16]^T. Thread t of the four warps holds, of columns 8j + 2(t % 4) + {0, 1}, row 16(t / 32) + t % 32 / 4
// in d[4j + {0, 1}] and the row 8 below in d[4j + {2, 3}].
template <int N>
struct wgmma;

#define WGMMA_D4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_D8(d, i) WGMMA_D4(d, i), WGMMA_D4(d, i + 4)
#define WGMMA_R0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_R1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_R2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_R3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_R4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_R5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_R6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_R7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_R8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_R9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_R10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_R11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_R12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_R13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_R14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_R15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_NAMES_16 WGMMA_R0
#define WGMMA_LIST_16(d) WGMMA_D8(d, 0)
#define WGMMA_NAMES_32 WGMMA_NAMES_16 ", " WGMMA_R1
#define WGMMA_LIST_32(d) WGMMA_LIST_16(d), WGMMA_D8(d, 8)
#define WGMMA_NAMES_48 WGMMA_NAMES_32 ", " WGMMA_R2
#define WGMMA_LIST_48(d) WGMMA_LIST_32(d), WGMMA_D8(d, 16)
#define WGMMA_NAMES_64 WGMMA_NAMES_48 ", " WGMMA_R3
#define WGMMA_LIST_64(d) WGMMA_LIST_48(d), WGMMA_D8(d, 24)
#define WGMMA_NAMES_80 WGMMA_NAMES_64 ", " WGMMA_R4
#define WGMMA_LIST_80(d) WGMMA_LIST_64(d), WGMMA_D8(d, 32)
#define WGMMA_NAMES_96 WGMMA_NAMES_80 ", " WGMMA_R5
#define WGMMA_LIST_96(d) WGMMA_LIST_80(d), WGMMA_D8(d, 40)
#define WGMMA_NAMES_112 WGMMA_NAMES_96 ", " WGMMA_R6
#define WGMMA_LIST_112(d) WGMMA_LIST_96(d), WGMMA_D8(d, 48)
#define WGMMA_NAMES_128 WGMMA_NAMES_112 ", " WGMMA_R7
#define WGMMA_LIST_128(d) WGMMA_LIST_112(d), WGMMA_D8(d, 56)
#define WGMMA_NAMES_144 WGMMA_NAMES_128 ", " WGMMA_R8
#define WGMMA_LIST_144(d) WGMMA_LIST_128(d), WGMMA_D8(d, 64)
#define WGMMA_NAMES_160 WGMMA_NAMES_144 ", " WGMMA_R9
#define WGMMA_LIST_160(d) WGMMA_LIST_144(d), WGMMA_D8(d, 72)
#define WGMMA_NAMES_176 WGMMA_NAMES_160 ", " WGMMA_R10
#define WGMMA_LIST_176(d) WGMMA_LIST_160(d), WGMMA_D8(d, 80)
#define WGMMA_NAMES_192 WGMMA_NAMES_176 ", " WGMMA_R11
#define WGMMA_LIST_192(d) WGMMA_LIST_176(d), WGMMA_D8(d, 88)
#define WGMMA_NAMES_208 WGMMA_NAMES_192 ", " WGMMA_R12
#define WGMMA_LIST_208(d) WGMMA_LIST_192(d), WGMMA_D8(d, 96)
#define WGMMA_NAMES_224 WGMMA_NAMES_208 ", " WGMMA_R13
#define WGMMA_LIST_224(d) WGMMA_LIST_208(d), WGMMA_D8(d, 104)
#define WGMMA_NAMES_240 WGMMA_NAMES_224 ", " WGMMA_R14
#define WGMMA_LIST_240(d) WGMMA_LIST_224(d), WGMMA_D8(d, 112)
#define WGMMA_NAMES_256 WGMMA_NAMES_240 ", " WGMMA_R15
#define WGMMA_LIST_256(d) WGMMA_LIST_240(d), WGMMA_D8(d, 120)
#define WGMMA(N, A, B, P) \
    template <> \
    struct wgmma<N> { \
        static __device__ __forceinline__ void multiply(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) { \
            asm volatile( \
                "{\n.reg .pred p;\n" \
                "setp.ne.b32 p, " P ", 0;\n" \
                "wgmma.mma_async.sync.aligned.m64n" #N "k16." WGMMA_TYPES " {" WGMMA_NAMES_##N "}, " A ", " B ", p, 1, 1, 0, 0;\n}" \
                : WGMMA_LIST_##N(d) \
                : "l"(a), "l"(b), "r"(accumulate)); \
        } \
    };
WGMMA(16, "%8", "%9", "%10")
WGMMA(32, "%16", "%17", "%18")
WGMMA(48, "%24", "%25", "%26")
WGMMA(64, "%32", "%33", "%34")
WGMMA(80, "%40", "%41", "%42")
WGMMA(96, "%48", "%49", "%50")
WGMMA(112, "%56", "%57", "%58")
WGMMA(128, "%64", "%65", "%66")
WGMMA(144, "%72", "%73", "%74")
WGMMA(160, "%80", "%81", "%82")
WGMMA(176, "%88", "%89", "%90")
WGMMA(192, "%96", "%97", "%98")
WGMMA(208, "%104", "%105", "%106")
WGMMA(224, "%112", "%113", "%114")
WGMMA(240, "%120", "%121", "%122")
WGMMA(256, "%128", "%129", "%130")

#endif
