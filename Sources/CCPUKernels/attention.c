// Attention over paged caches and over segments: planning, dispatch and the combination of context parts. The engine is in
// attention_body.h.

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <string.h>

#include "vlm_cpu_ops.h"

enum {
    // Rows (a query token's head) per unit of work, to be met as closely as the rows of a sequence allow. Packing a tile of
    // keys and values costs about as much as computing twenty rows; the float32 accumulators of 512 rows (256 KB at 128
    // dimensions) stay in a second-level cache.
    UNIT_ROWS = 512,
    // Rows of the largest unit that comes of that.
    MOST_ROWS = UNIT_ROWS + UNIT_ROWS / 2,
    // Rows between which the scores of a tile stay in the first-level cache: 64 x 128 scores are 32 KB.
    BLOCK_ROWS = 64,
    // Keys per tile.
    TILE = 128,
    // Keys per part of a cached context: small enough that one sequence of one kv head gives several threads work, large
    // enough (64 KB of bfloat16 keys and values at 64 dimensions) that a part outweighs its hand-out.
    SPLIT = 256,
    // Rows of keys or values asked for ahead of their use. A row is too short (128 to 512 bytes) for the processor's own
    // prefetching to get going, and a block's rows end where another's begin: without this, decoding waits for
    // memory once per row.
    AHEAD = 32,
    // Rows of queries and results asked for ahead of their use.
    NEAR = 8,
};

// A sequence a unit belongs to: the last one that does not begin behind it.
static const vlm_attention_sequence *sequence_of(const vlm_attention *a, long unit) {
    long low = 0, high = a->sequence_count - 1;
    while (low < high) {
        long middle = (low + high + 1) / 2;
        if (a->sequences[middle].first_unit <= unit)
            low = middle;
        else
            high = middle - 1;
    }
    return &a->sequences[low];
}

// What a unit computes.
typedef struct {
    const vlm_attention_sequence *sequence;
    long kv_head;
    // Rows of the sequence's (token, query head of the kv head) pairs.
    long first_row, rows;
    // Keys, before causality and window narrow them.
    long first_key, end_key;
    // Where the unnormalised result goes, or NULL: straight to out.
    float *partial;
} unit_of_work;

static inline long floats_per_partial(const vlm_attention *a) {
    return a->heads / a->kv_heads * (a->head_size + 2);
}

// Units that a sequence's rows are cut into, of equal size: a short rest would pack the keys for few rows.
static inline long chunk_count(long rows) {
    return rows < MOST_ROWS ? 1 : (rows + UNIT_ROWS / 2) / UNIT_ROWS;
}

static unit_of_work find_unit(const vlm_attention *a, long unit) {
    const vlm_attention_sequence *s = sequence_of(a, unit);
    long local = unit - s->first_unit, rows = s->tokens * (a->heads / a->kv_heads);
    unit_of_work work = {.sequence = s, .kv_head = local % a->kv_heads, .end_key = s->context};
    long part = local / a->kv_heads;
    if (s->splits > 0) {
        work.rows = rows;
        work.first_key = (s->first_split + part) * SPLIT;
        if (work.first_key + SPLIT < work.end_key) work.end_key = work.first_key + SPLIT;
        if (s->splits > 1)
            work.partial = a->partials + (s->first_partial + work.kv_head * s->splits + part) * floats_per_partial(a);
    } else {
        // The last rows of a causal sequence see the most keys: they go first, so that no thread is left with them at the end.
        long chunks = chunk_count(rows), chunk = chunks - 1 - part;
        work.first_row = rows * chunk / chunks;
        work.rows = rows * (chunk + 1) / chunks - work.first_row;
    }
    return work;
}

// Keys [low, high) that a token of a sequence sees.
static inline long last_key(const vlm_attention *a, const vlm_attention_sequence *s, long token) {
    if (a->ends) return a->ends[s->query_row + token];
    long end = a->causal ? s->context - s->tokens + token + 1 : s->context;
    return end > 0 ? end : 0;
}

// A window ends at the token itself, also where the token sees later ones.
static inline long first_key(const vlm_attention *a, const vlm_attention_sequence *s, long token) {
    long end = s->context - s->tokens + token + 1;
    return a->window > 0 && end > a->window ? end - a->window : 0;
}

// Addresses of `count` keys (or values) of one kv head from position `position` on. Positions below `visible` belong to
// nobody's window: their blocks may have been given away, so `zeros` stands in for them.
static void find_rows(
    const vlm_attention *a, const unit_of_work *work, const void *base, long stride, long position, long count, long visible,
    const char *zeros, const char **rows) {
    size_t size = a->type == VLM_F32 ? 4 : 2;
    const char *bytes = base;
    long i = 0;
    for (; i < count && position + i < visible; i++) rows[i] = zeros;
    if (a->tables) {
        const int32_t *table = a->tables + work->sequence->source * a->table_stride;
        long mask = ((long)1 << a->block_shift) - 1;
        for (; i < count; i++) {
            long p = position + i;
            long row = (((long)table[p >> a->block_shift] * a->kv_heads + work->kv_head) << a->block_shift) + (p & mask);
            rows[i] = bytes + (size_t)(row * a->head_size) * size;
        }
    } else {
        for (; i < count; i++)
            rows[i] = bytes + (size_t)((work->sequence->source + position + i) * stride + work->kv_head * a->head_size) * size;
    }
}

// A row of q or out: a unit's rows are a token's heads of the group, then the next token's.
static inline const float *row_of(const vlm_attention *a, const unit_of_work *work, const float *base, long stride, long row) {
    long group = a->heads / a->kv_heads;
    return base + (work->sequence->query_row + row / group) * stride + (work->kv_head * group + row % group) * a->head_size;
}

// Where a unit keeps its intermediates; sizes in floats (or pairs of bfloat16), each a multiple of 16 of them.
typedef struct {
    float *q, *o, *sums, *maxima, *factors, *scores, *p, *k, *v;
    // Of the parts of the context before the current one.
    float *folded_o, *folded_sums, *folded_maxima;
    const char **k_rows, **v_rows;
    char *zeros;
} unit_scratch;

static size_t take(size_t *offset, size_t bytes) {
    size_t at = *offset;
    *offset += (bytes + 63) / 64 * 64;
    return at;
}

// Returns the bytes in all; only counts them where `s` is NULL.
static size_t lay_out(char *base, long head_size, unit_scratch *s) {
    size_t offset = 0, e = (size_t)(head_size + 15) / 16 * 16;
#define TAKE(field, bytes) \
    do { \
        size_t at = take(&offset, bytes); \
        if (s) s->field = (void *)(base + at); \
    } while (0)
    TAKE(q, MOST_ROWS * e * 4);
    TAKE(o, MOST_ROWS * e * 4);
    TAKE(folded_o, MOST_ROWS * e * 4);
    TAKE(folded_sums, MOST_ROWS * 4);
    TAKE(folded_maxima, MOST_ROWS * 4);
    TAKE(sums, MOST_ROWS * 64);
    TAKE(maxima, MOST_ROWS * 4);
    TAKE(factors, BLOCK_ROWS * 4);
    TAKE(scores, BLOCK_ROWS * TILE * 4);
    TAKE(p, BLOCK_ROWS * TILE * 4);
    TAKE(k, TILE * e * 4);
    TAKE(v, TILE * e * 4);
    TAKE(k_rows, (TILE + AHEAD) * sizeof(char *));
    TAKE(v_rows, (TILE + AHEAD) * sizeof(char *));
    TAKE(zeros, e * 4);
#undef TAKE
    return offset;
}

// Sequences of at most this many rows take their scores from keys as they lie: packing them would cost more. The sums are the same.
enum { FEW_ROWS = 8 };

// One version for every instruction set, never merged into its callers: parts combine to the same bits everywhere.
static __attribute__((noinline)) float power_of_two(float x);

#define BODY "attention_body.h"
#define PAIRS 0
#include "instantiate.h"
#undef PAIRS

#if defined(__x86_64__)
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)
#define ISA(name) name##_avx512bf16
#define W 16
#define X86_LEVEL 3
#define PAIRS 1
#include "attention_body.h"
#undef ISA
#undef W
#undef X86_LEVEL
#undef PAIRS
#pragma clang attribute pop
#endif

static float power_of_two(float x) { return exp2_portable(splat_portable(x), true)[0]; }

void vlm_attention_unit(void *context, size_t unit, size_t worker) {
    const vlm_attention *a = context;
    unit_of_work work = find_unit(a, (long)unit);
    unit_scratch scratch;
    lay_out(a->scratch + worker * a->scratch_bytes, a->head_size, &scratch);
#if defined(__x86_64__)
    if (a->fast && a->isa == VLM_ISA_AVX512_BF16) {
        attend_avx512bf16(a, &work, &scratch);
        return;
    }
#endif
    DISPATCH(a->isa, attend, a, &work, &scratch);
}

vlm_attention_plan vlm_attention_make_plan(const vlm_attention *a) {
    vlm_attention_plan plan = {0};
    long partials = 0, group = a->heads / a->kv_heads;
    for (long i = 0; i < a->sequence_count; i++) {
        vlm_attention_sequence *s = &a->sequences[i];
        s->first_unit = plan.units;
        s->first_partial = partials;
        s->splits = s->first_split = 0;
        if (s->tokens == 1 && group <= MOST_ROWS) {
            long low = first_key(a, s, 0), high = last_key(a, s, 0);
            s->first_split = (int)(low / SPLIT);
            s->splits = high > low ? (int)((high + SPLIT - 1) / SPLIT - low / SPLIT) : 1;
            plan.units += a->kv_heads * s->splits;
            if (s->splits > 1) {
                partials += a->kv_heads * s->splits;
                plan.combine_units = a->sequence_count * a->kv_heads;
            }
        } else if (s->tokens > 0) {
            plan.units += a->kv_heads * chunk_count(s->tokens * group);
        }
    }
    plan.scratch_bytes = lay_out(NULL, a->head_size, NULL);
    plan.partial_count = (size_t)(partials * floats_per_partial(a));
    return plan;
}

void vlm_attention_combine(void *context, size_t unit, size_t worker) {
    (void)worker;
    const vlm_attention *a = context;
    const vlm_attention_sequence *s = &a->sequences[(long)unit / a->kv_heads];
    if (s->splits < 2) return;
    long kv_head = (long)unit % a->kv_heads, group = a->heads / a->kv_heads, e = a->head_size, size = floats_per_partial(a);
    // Of each part: group rows of the unnormalised result, then maxima (base-2 logarithms), then sums.
    const float *parts = a->partials + (s->first_partial + kv_head * s->splits) * size;
    for (long j = 0; j < group; j++) {
        float *out = a->out + s->query_row * a->out_stride + (kv_head * group + j) * e;
        float maximum = -INFINITY, sum = 0;
        memset(out, 0, (size_t)e * sizeof(float));
        for (long p = 0; p < s->splits; p++) {
            const float *part = parts + p * size;
            fold_portable(out, &maximum, &sum, part + j * e, part[group * e + j], part[group * e + group + j], e);
        }
        float inverse = sum == 0 ? 0 : 1 / sum;
        for (long i = 0; i < e; i++) out[i] *= inverse;
    }
}
