// Parameters of the kernel in attention_hopper.cu; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_ATTENTION_HOPPER_H
#define VLM_CUDA_ATTENTION_HOPPER_H

/// How the kernel is cut; the host sizes shared memory and tiles by it.
enum vlm_cuda_hopper_shape {
    /// Keys in a step.
    VLM_HOPPER_KEYS = 128,
    /// Computing warpgroups of a block, 64 rows each, for heads of up to 64 elements and for wider ones.
    VLM_HOPPER_GROUPS_NARROW = 3,
    VLM_HOPPER_GROUPS_WIDE = 2,
    /// Steps of keys, and of values, in shared memory; powers of two.
    VLM_HOPPER_STAGES_NARROW = 4,
    VLM_HOPPER_STAGES_WIDE = 2,
    /// Sequences that may travel with the parameters.
    VLM_HOPPER_KNOWN = 64
};

/// Attention of H = kv_heads * group query heads over contiguous or paged keys and values.
///
/// A tile is some tokens times the `group` query heads that share one key-value head: a row for each pair of them. Tiles of a sequence
/// are `tile_tokens` long but its last, which is up to `last_tokens`; so there are 1 + (rows - last_tokens) / tile_tokens, rounded up.
/// Work is numbered from 0 to `tiles * kv_heads`.
typedef struct {
    /// `[T, H, E]`, boxes of 64 elements x group heads x last_tokens rows.
    vlm_cuda_tensor_map q;
    /// Axes: element, row in the page, page; boxes of 64 elements x page_rows rows of one page. Paged: page = block * kv_heads +
    /// head. Contiguous `[T, G, E]`: page = head and the row is the token.
    vlm_cuda_tensor_map k;
    vlm_cuda_tensor_map v;
    /// `[T, H, E]`, rows `out_stride` elements apart.
    void *out;
    int64_t out_stride;
    /// `[sequences + 1]`: rows of sequence s are `starts[s] ..< starts[s + 1]`.
    const int32_t *starts;
    /// `[sequences]`: cached positions, new tokens included; causal. Null: every row of a sequence sees all of the sequence's rows.
    const int32_t *contexts;
    /// `[sequences, table_stride]`: blocks of each sequence; null for contiguous keys.
    const int32_t *tables;
    int64_t table_stride;
    int32_t sequences;
    /// Of all sequences; may be more than that.
    int32_t tiles;
    int32_t kv_heads;
    int32_t group;
    int32_t tile_tokens;
    int32_t last_tokens;
    /// Rows that one copy brings: the block size, at most the kernel's keys per step.
    int32_t page_rows;
    /// Base 2 logarithm of the cache's block size.
    int32_t block_shift;
    /// Positions that a query sees, itself included; INT32_MAX for all.
    int32_t window;
    /// Multiplies scores before exp2: scale * log2(e).
    float scale_log2;
    /// Not 0: `known_starts` and `known_contexts` have what `starts` and `contexts` have on the device, so that a block can find its
    /// tile before the kernels before it are done.
    int32_t known;
    int32_t known_starts[VLM_HOPPER_KNOWN + 1];
    int32_t known_contexts[VLM_HOPPER_KNOWN];
} vlm_cuda_attention_hopper;

#endif
