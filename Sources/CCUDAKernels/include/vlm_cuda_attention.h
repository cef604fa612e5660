// Parameters of the attention kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_ATTENTION_H
#define VLM_CUDA_ATTENTION_H

// Attention of H query heads over G key and value heads of E elements, of a ragged batch of sequences.
//
// Programs are compiled with VLM_OPTION 0 for causal attention over a paged cache, 1 for bidirectional attention inside segments.
// A block computes one tile of query rows of one key and value head. The H / G query heads of a token that share the head are
// rows of the tile: row r of a sequence is token r / (H / G), head g H / G + r % (H / G). Where sequences have about as many tiles,
// each gets `sequence_tiles`; otherwise tiles are numbered through all sequences with at most one empty tile each, so that a block
// finds its sequence by a search in `starts`. Nothing is uploaded for either.
//
// Grid: x = tiles · kv_heads where tiles = sequences · sequence_tiles, or rows · (H / G) / tileRows + sequences; y = splits.
// Strides are in elements.
typedef struct {
    // [rows, H, E], rows `q_stride` apart.
    const void *q;
    // Paged: [blocks, G, blockSize, E]. Segments: [rows, G, E], rows `k_stride` and `v_stride` apart.
    const void *k;
    const void *v;
    // [rows, H, E], rows `out_stride` apart.
    void *out;
    // int32 [sequences + 1]: first row of each sequence, then all rows.
    const void *starts;
    // Paged: int32 [sequences] cached positions, new ones included, and int32 [sequences, table_stride] blocks.
    const void *contexts;
    const void *tables;
    // Paged: int32 [rows], how many keys of its sequence each row sees, at least up to its own and no fewer than the row before; null: those up to its own.
    const void *ends;
    // With more than one split, float32: unnormalised sums [splits, rows, H, E] and, for each, [splits, rows, H, 4]: the largest score in
    // units of log 2, the sum of weights, the number of splits the row has, and nothing.
    void *sums;
    void *weights;
    int64_t q_stride;
    int64_t k_stride;
    int64_t v_stride;
    int64_t out_stride;
    int32_t rows;
    int32_t sequences;
    int32_t heads;
    int32_t kv_heads;
    // 0: numbered through all sequences.
    int32_t sequence_tiles;
    int32_t table_stride;
    // log2 of the tokens of a block.
    int32_t block_shift;
    // Positions a query sees, 0 for all.
    int32_t window;
    // Upper bound of the parts a tile's keys are divided into; each has at least `split_keys` keys.
    int32_t splits;
    int32_t split_keys;
    // Sequences of more tile rows than this are not split.
    int32_t split_rows;
    // Multiplies scores.
    float scale;
    // 0 for none.
    float softcap;
} vlm_cuda_attention;

#endif
