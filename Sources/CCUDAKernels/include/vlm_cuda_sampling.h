// Parameters of the sampling kernels; see vlm_cuda_kernels.h.
#ifndef VLM_CUDA_SAMPLING_H
#define VLM_CUDA_SAMPLING_H

enum {
    /// Threads of a block of `sample_greedy` and `sample_full`.
    VLM_CUDA_SAMPLING_THREADS = 1024,
    /// Blocks of a cluster, which share a row, at most.
    VLM_CUDA_SAMPLING_CLUSTER = 8,
    /// Vocabularies may be as large as 2 to this.
    VLM_CUDA_SAMPLING_ID_BITS = 20,
};

/// How one row of logits becomes a token; `SamplingRow` in Swift.
typedef struct {
    /// Negative: the row chooses nothing.
    int32_t lane;
    /// 0 takes the likeliest.
    float temperature;
    /// 0 keeps all.
    int32_t top_k;
    float top_p;
    float min_p;
    float repetition_penalty;
    uint32_t seed_low;
    uint32_t seed_high;
    int32_t step;
    /// Place in `results`; negative: none.
    int32_t result;
    float presence_penalty;
    float frequency_penalty;
    /// Row of `masks`; negative: none.
    int32_t mask;
    int32_t unused[3];
} vlm_cuda_sampling_row;

/// Chooses a token for each row. Grid (cluster, n), `cluster` blocks to a row.
typedef struct {
    /// `[n, V]` float32, rows `stride` elements apart; `sample_full` may change them.
    float *logits;
    /// `[n]`. Read before earlier kernels have finished: only copies may write them.
    const vlm_cuda_sampling_row *rows;
    /// `[lanes]`: the newest token of each.
    int32_t *newest;
    /// `[resultCount]`, memory of the host.
    int32_t *results;
    /// `[lanes, seen_words]`: bit i of word w is token 32 w + i, whether prompt or response have it.
    uint32_t *seen;
    /// `[lanes, V]`: how often the response has each token; null: nothing is counted and no row asks for it.
    uint16_t *counts;
    /// `[lanes, seen_words]`: bit i of word w is token 32 w + i, whether it may be chosen.
    const uint32_t *masks;
    int64_t stride;
    int32_t vocabulary;
    int32_t lanes;
    int32_t result_count;
    int32_t seen_words;
    /// Whether a block's part of a row fits its shared memory.
    int32_t is_cached;
} vlm_cuda_sample;

#endif
