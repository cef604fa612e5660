// Thread block clusters (sm_90 and later): their barrier, and reading the shared memory of a cluster's other blocks. Before sm_90 every block
// is a cluster of its own.
#pragma once

#include "ptx.cuh"

// The two halves of the cluster's barrier. What a thread wrote before it arrives, all see after they waited.
__device__ __forceinline__ void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait;" ::: "memory");
#endif
}

// The address that block `rank` of the cluster's shared memory has at the place of `local`.
__device__ __forceinline__ uint32_t peer_address(const void *local, int rank) {
    uint32_t address = shared_address(local);
#if __CUDA_ARCH__ >= 900
    asm volatile("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(address) : "r"(rank));
#endif
    return address;
}

// What block `rank` of the cluster has at the place of `local`.
__device__ __forceinline__ uint32_t load_peer(const uint32_t *local, int rank) {
#if __CUDA_ARCH__ >= 900
    uint32_t v;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(v) : "r"(peer_address(local, rank)) : "memory");
    return v;
#else
    return *local;
#endif
}
__device__ __forceinline__ uint64_t load_peer(const uint64_t *local, int rank) {
#if __CUDA_ARCH__ >= 900
    uint64_t v;
    asm volatile("ld.shared::cluster.u64 %0, [%1];" : "=l"(v) : "r"(peer_address(local, rank)) : "memory");
    return v;
#else
    return *local;
#endif
}
__device__ __forceinline__ float load_peer(const float *local, int rank) {
#if __CUDA_ARCH__ >= 900
    float v;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(peer_address(local, rank)) : "memory");
    return v;
#else
    return *local;
#endif
}
__device__ __forceinline__ float4 load_peer(const float4 *local, int rank) {
#if __CUDA_ARCH__ >= 900
    float4 v;
    asm volatile("ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(peer_address(local, rank))
                 : "memory");
    return v;
#else
    return *local;
#endif
}
