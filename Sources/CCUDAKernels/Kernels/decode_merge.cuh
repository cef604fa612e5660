// The parts of a decode step's attention, and how their results become one.
#pragma once

#include "cluster.cuh"
#include "mma.cuh"

#ifndef VLM_HEAD_SIZE
#define VLM_HEAD_SIZE 128
#endif

constexpr int head_size = VLM_HEAD_SIZE;
constexpr int tile = VLM_CUDA_DECODE_TILE;
constexpr int head_rows = VLM_CUDA_DECODE_HEADS;
constexpr int most_warps = 4;
constexpr int quads = head_size / 4;
#define infinity __int_as_float(0x7f800000)
constexpr float log2_e = 1.4426950408889634f;
// One running softmax for each query head: the maximum (of scores · log2 e) and the sum.
struct Softmax {
    float peak[head_rows];
    float sum[head_rows];
};

struct MergeSpace {
    Softmax warp[most_warps];
    Softmax block;
    // Of all clusters.
    Softmax clusters[VLM_CUDA_DECODE_CLUSTERS];
    bool is_last;
};

// What a block has to do.
struct Part {
    int sequence, kv_head, first_head, heads;
    // Positions [first, context) are visible.
    int first, context;
    // Tiles of this block, and how many splits have any.
    int begin, end, active;

    __device__ __forceinline__ Part(const vlm_cuda_decode_attention &p) {
        int head_groups = gridDim.y / p.kv_heads;
        sequence = blockIdx.z;
        kv_head = blockIdx.y / head_groups;
        int done = (blockIdx.y - kv_head * head_groups) * head_rows;
        first_head = kv_head * p.group + done;
        heads = min(head_rows, p.group - done);
        context = __ldcg(p.context_lengths + sequence);
        first = p.window > 0 ? max(0, context - p.window) : 0;
        int start = first / tile, tiles = (context + tile - 1) / tile - start;
        // A block has work for all its warps before the next gets any.
        int share = max((tiles + (int)gridDim.x - 1) / (int)gridDim.x, most_warps);
        active = (tiles + share - 1) / share;
        begin = start + min((int)blockIdx.x * share, tiles);
        end = start + min(((int)blockIdx.x + 1) * share, tiles);
    }

    // Whether a query sees a position.
    __device__ __forceinline__ bool sees(int position) const { return position >= first && position < context; }

    // The cache block of a position; any where it is not visible. No branch depends on the load, so it need not be waited for here.
    __device__ __forceinline__ int block(const vlm_cuda_decode_attention &p, int position) const {
        int index = sees(position) ? position >> p.block_shift : first >> p.block_shift;
        return __ldcg(p.block_tables + (int64_t)sequence * p.table_stride + index);
    }

    // The row of `[blocks · G · blockSize, E]` that holds a position in its block; -1 when it is not visible.
    __device__ __forceinline__ int row(const vlm_cuda_decode_attention &p, int block, int position) const {
        int row = ((block * p.kv_heads + kv_head) << p.block_shift) + (position & ((1 << p.block_shift) - 1));
        return sees(position) && (uint32_t)block < (uint32_t)p.block_count ? row : -1;
    }
};

// Brings a row near while earlier kernels still run. The newest position may be written by one of them; the L2 cache is where all see
// the same, so fetching it early harms nothing.
__device__ __forceinline__ void prefetch_row(const void *cache, int row) {
    if (row < 0) return;
    const element_t *from = (const element_t *)cache + (int64_t)row * head_size;
#pragma unroll
    for (int i = 0; i < head_size * (int)sizeof(element_t); i += 128) prefetch_line((const char *)from + i);
}

// A score in the exponent's base 2.
__device__ __forceinline__ float scaled(const vlm_cuda_decode_attention &p, float product) {
    if (p.softcap > 0) return p.softcap * tanhf(product * p.scale / p.softcap) * log2_e;
    return product * (p.scale * log2_e);
}

// 2^(x - peak), where nothing seen yet weighs nothing.
__device__ __forceinline__ float weight_of(float x, float peak) { return x == -infinity ? 0.0f : exp2f(x - peak); }

// MARK: - Merging

__device__ __forceinline__ void add_scaled(float4 &sum, float4 x, float weight) {
    sum.x += x.x * weight;
    sum.y += x.y * weight;
    sum.z += x.z * weight;
    sum.w += x.w * weight;
}

// Stores the finished quad `index` of `[heads, E / 4]`.
__device__ __forceinline__ void store_out(const vlm_cuda_decode_attention &p, const Part &part, int index, float4 v, float inverse) {
    element_t *to = (element_t *)p.out + part.sequence * p.out_stride + (int64_t)part.first_head * head_size + index * 4;
#if VLM_ELEMENT == 0
    *(float4 *)to = make_float4(v.x * inverse, v.y * inverse, v.z * inverse, v.w * inverse);
#else
    *(uint2 *)to = make_uint2(pack2<element_t>(v.x * inverse, v.y * inverse), pack2<element_t>(v.z * inverse, v.w * inverse));
#endif
}

// What `count` parts, of which `peak_of` and `sum_of` tell the softmaxes of one head, weigh in their union.
template <int most>
struct Weights {
    float weight[most];
    float peak = -infinity, sum = 0;

    template <typename Peak, typename Sum>
    __device__ __forceinline__ Weights(int count, Peak peak_of, Sum sum_of) {
        float sums[most];
#pragma unroll
        for (int i = 0; i < most; i++) {
            weight[i] = i < count ? peak_of(i) : -infinity;
            sums[i] = i < count ? sum_of(i) : 0;
        }
#pragma unroll
        for (int i = 0; i < most; i++) peak = fmaxf(peak, weight[i]);
#pragma unroll
        for (int i = 0; i < most; i++) {
            weight[i] = weight_of(weight[i], peak);
            sum += sums[i] * weight[i];
        }
    }
};

// Merges the results of `warps` warps, `results` `[warps, heads, E]` in shared memory with their softmaxes in `space.warp`, and then of
// blocks and clusters, and stores them. Called by all threads of all blocks of a cluster, after a barrier.
__device__ __forceinline__ void merge(const vlm_cuda_decode_attention &p, const Part &part, MergeSpace &space, float4 *results, int warps) {
    const int total = part.heads * quads;
    const bool alone = part.active == 1;
    for (int i = threadIdx.x; i < total; i += blockDim.x) {
        const int head = i / quads;
        const Weights<most_warps> w(
            warps, [&](int k) { return space.warp[k].peak[head]; }, [&](int k) { return space.warp[k].sum[head]; });
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int k = 0; k < most_warps; k++)
            if (k < warps) add_scaled(sum, results[k * total + i], w.weight[k]);
        if (alone && blockIdx.x == 0) store_out(p, part, i, sum, 1.0f / w.sum);
        results[i] = sum;
        if (i == head * quads) {
            space.block.peak[head] = w.peak;
            space.block.sum[head] = w.sum;
        }
    }
    // All blocks of the cluster leave here or none.
    if (alone) return;

    // Within the cluster: block `rank` finishes the slice [begin, end) of the results.
    const int ranks = p.cluster, rank = ranks > 1 ? blockIdx.x % ranks : 0;
    const int begin = total * rank / ranks, end = total * (rank + 1) / ranks;
    const int cluster = blockIdx.x / ranks, clusters = (part.active + ranks - 1) / ranks;
    const int64_t pair = (int64_t)part.sequence * gridDim.y + blockIdx.y, all_clusters = gridDim.x / ranks;
    float4 *partials = (float4 *)p.partials + pair * all_clusters * (min(p.group, head_rows) * quads);
    Softmax *statistics = (Softmax *)p.statistics + pair * all_clusters * ranks;
    if (ranks > 1) {
        cluster_arrive();
        cluster_wait();
    } else {
        __syncthreads();
    }
    for (int i = begin + threadIdx.x; i < end; i += blockDim.x) {
        const int head = i / quads;
        float4 parts[VLM_CUDA_DECODE_CLUSTER];
#pragma unroll
        for (int r = 0; r < VLM_CUDA_DECODE_CLUSTER; r++)
            if (r < ranks) parts[r] = load_peer(results + i, r);
        const Weights<VLM_CUDA_DECODE_CLUSTER> w(
            ranks, [&](int r) { return load_peer(&space.block.peak[head], r); },
            [&](int r) { return load_peer(&space.block.sum[head], r); });
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int r = 0; r < VLM_CUDA_DECODE_CLUSTER; r++)
            if (r < ranks) add_scaled(sum, parts[r], w.weight[r]);
        if (clusters == 1) {
            store_out(p, part, i, sum, 1.0f / w.sum);
        } else {
            partials[(int64_t)cluster * total + i] = sum;
            if (i == begin || i == head * quads) {
                statistics[cluster * ranks + rank].peak[head] = w.peak;
                statistics[cluster * ranks + rank].sum[head] = w.sum;
            }
        }
    }
    // No block may end while another reads its memory; waited for last.
    if (ranks > 1) cluster_arrive();

    // Between clusters: the last to have written its share of a slice finishes the slice.
    if (clusters > 1) {
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) {
            uint32_t *counter = p.counters + pair * ranks + rank;
            space.is_last = atomicAdd(counter, 1) == clusters - 1;
            if (space.is_last) *counter = 0;
            __threadfence();
        }
        __syncthreads();
        if (space.is_last && begin < end) {
            const int low = begin / quads, heads = (end - 1) / quads + 1 - low;
            for (int i = threadIdx.x; i < clusters * heads; i += blockDim.x) {
                int c = i / heads, head = low + i % heads;
                space.clusters[c].peak[head] = __ldcg(&statistics[c * ranks + rank].peak[head]);
                space.clusters[c].sum[head] = __ldcg(&statistics[c * ranks + rank].sum[head]);
            }
            __syncthreads();
            for (int i = begin + threadIdx.x; i < end; i += blockDim.x) {
                const int head = i / quads;
                float peak = -infinity, weights = 0;
                for (int c = 0; c < clusters; c++) peak = fmaxf(peak, space.clusters[c].peak[head]);
                float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 8
                for (int c = 0; c < clusters; c++) {
                    float weight = weight_of(space.clusters[c].peak[head], peak);
                    weights += space.clusters[c].sum[head] * weight;
                    add_scaled(sum, __ldcg(partials + (int64_t)c * total + i), weight);
                }
                store_out(p, part, i, sum, 1.0f / weights);
            }
        }
    }
    if (ranks > 1) cluster_wait();
}
