// Parameters of the kernels in decode_attention.cu; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_DECODE_H
#define VLM_CUDA_DECODE_H

enum {
    /// Positions of a tile, the unit that contexts are split by.
    VLM_CUDA_DECODE_TILE = 16,
    /// Query heads of one key/value head that a block takes at once.
    VLM_CUDA_DECODE_HEADS = 16,
    /// Clusters of blocks that one context may be split over at most.
    VLM_CUDA_DECODE_CLUSTERS = 64,
    /// Blocks of a cluster at most, what every GPU with clusters has.
    VLM_CUDA_DECODE_CLUSTER = 8,
};

/// Attention of one new token of each sequence over its cached context.
///
/// Grid (splits, G · headGroups, S), `cluster` neighbours in x form a cluster; 64 or 128 threads (float32: 128).
typedef struct {
    /// Queries and results `[S, H, E]`, rows `q_stride` and `out_stride` elements apart.
    void *q;
    void *out;
    /// `[blocks, G, blockSize, E]`
    void *keys;
    void *values;
    /// `[S]` int32; 0 for padding, whose results are zeros. This and the tables are read before earlier kernels have finished: only
    /// copies may write them.
    const int32_t *context_lengths;
    /// `[S, maxBlocks]` int32, rows `table_stride` apart.
    const int32_t *block_tables;
    /// Room for results of splits: float32 `[S, G · headGroups, clusters, min(H/G, 16) · E]`.
    float *partials;
    /// Their softmaxes, peaks and sums: float32 `[S, G · headGroups, clusters, cluster, 2, 16]`.
    float *statistics;
    /// Zeros `[S, G · headGroups, cluster]`; left as zeros.
    uint32_t *counters;
    int64_t q_stride;
    int64_t out_stride;
    int32_t table_stride;
    int32_t block_count;
    /// log2 of the block size.
    int32_t block_shift;
    int32_t kv_heads;
    /// Query heads to each key/value head.
    int32_t group;
    int32_t cluster;
    /// Most positions a query sees; 0 for all.
    int32_t window;
    float scale;
    /// 0 for none.
    float softcap;
} vlm_cuda_decode_attention;

#endif
