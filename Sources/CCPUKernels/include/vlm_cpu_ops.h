// Norms, rotary embedding, element-wise operations, rows and attention on float32 activations.
//
// Every function takes the instruction set to use. Strides are in elements. Pointers to elements need the alignment of the
// element only. The functions on rows work on the rows they are given, so the caller divides rows among threads.
#ifndef VLM_CPU_OPS_H
#define VLM_CPU_OPS_H

#include "vlm_cpu.h"
#include "vlm_cpu_gemm.h"

/// Element types of caches and tables.
typedef enum vlm_element { VLM_F32 = 0, VLM_BF16 = 1, VLM_F16 = 2 } vlm_element;

// MARK: Norms

/// out = x / sqrt(mean(x^2) + epsilon) * weight over the last axis of x [rows, heads, width]; out may be x.
void vlm_rms_norm(
    vlm_isa isa, float *out, long out_stride, const float *x, long x_stride, const float *weight, long rows, long heads,
    long width, float epsilon);

/// out = (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis of x [rows, heads, width]; bias may be NULL,
/// out may be x.
void vlm_layer_norm(
    vlm_isa isa, float *out, long out_stride, const float *x, long x_stride, const float *weight, const float *bias, long rows,
    long heads, long width, float epsilon);

// MARK: Rotary embedding

/// Turns the first 2R dimensions of each head of x [rows, heads, head_size] in place by cosine, sine [rows, R].
void vlm_rotate(
    vlm_isa isa, float *x, long x_stride, const float *cosine, long cosine_stride, const float *sine, long sine_stride, long rows,
    long heads, long head_size, long r, bool interleaved);

// MARK: Element-wise

/// out += x, rows of width.
void vlm_add(vlm_isa isa, float *out, long out_stride, const float *x, long x_stride, long rows, long width);

/// x = f(x) in place, rows of width.
void vlm_activate(vlm_isa isa, float *x, long stride, long rows, long width, vlm_activation f);

/// x = factor * x in place, rows of width.
void vlm_scale(vlm_isa isa, float *x, long stride, long rows, long width, float factor);

/// out = float32 of count elements.
void vlm_widen(vlm_isa isa, float *out, const void *x, vlm_element type, long count);

/// out += float32 of count elements.
void vlm_add_widened(vlm_isa isa, float *out, const void *x, vlm_element type, long count);

/// out += factor * float32 of count elements.
void vlm_add_scaled(vlm_isa isa, float *out, const void *x, vlm_element type, float factor, long count);

/// out = count elements of float32 in `type` (VLM_F32 or VLM_BF16), rounded to nearest even.
void vlm_narrow(vlm_isa isa, void *out, const float *x, vlm_element type, long count);

// MARK: Attention

/// One sequence (or segment) of an attention call. The caller sets the first four fields, vlm_attention_plan the others.
typedef struct vlm_attention_sequence {
    /// First row of q and out.
    long query_row;
    /// New tokens: rows of q and out.
    long tokens;
    /// Keys and values the sequence has, its new tokens included.
    long context;
    /// Paged: row of the block table. Otherwise: first row of k and v.
    long source;
    long first_unit, first_partial;
    /// Parts the context is cut into (a decoding step), or 0: the rows are cut into chunks.
    int splits, first_split;
} vlm_attention_sequence;

/// An attention call, cut into units of work that can run in any order on any threads; how it is cut depends on nothing but
/// the sequence, so a sequence's result depends neither on its neighbours nor on the number of threads.
typedef struct vlm_attention {
    vlm_isa isa;
    /// Multiply in bfloat16 where the instruction set can; float32 otherwise.
    bool fast;
    /// Query j of n sees the first context - n + j + 1 keys; otherwise all of them.
    bool causal;
    /// Type of k and v: VLM_F32 or VLM_BF16.
    vlm_element type;
    long heads, kv_heads, head_size;
    /// Multiplies scores, above 0.
    float scale;
    /// cap * tanh(score / cap), or 0 for none.
    float softcap;
    /// Keys a query sees at most, or 0 for all.
    long window;
    const float *q;
    float *out;
    long q_stride, out_stride;
    /// Paged: [blocks, kv_heads, 1 << block_shift, head_size]. Otherwise: [rows, kv_heads, head_size] with row strides.
    const void *k, *v;
    long k_stride, v_stride;
    /// [sequences, table_stride] block numbers, or NULL when k and v are not paged.
    const int32_t *tables;
    long table_stride;
    int block_shift;
    /// Causal: how many keys each row of q sees where that is more than up to its own; or NULL.
    const int32_t *ends;
    vlm_attention_sequence *sequences;
    long sequence_count;
    /// Bytes of one worker's scratch and where the first begins (64-byte aligned).
    size_t scratch_bytes;
    char *scratch;
    /// Results of context parts before they are combined.
    float *partials;
} vlm_attention;

/// What an attention call needs.
typedef struct vlm_attention_plan {
    /// Units of work for vlm_attention_unit.
    long units;
    /// Units of vlm_attention_combine, to be run after all of those; 0 when there is nothing to combine.
    long combine_units;
    /// Floats behind `partials`.
    size_t partial_count;
    /// Bytes of scratch per worker.
    size_t scratch_bytes;
} vlm_attention_plan;

/// Cuts the call into units: fills in the sequences' plan fields.
vlm_attention_plan vlm_attention_make_plan(const vlm_attention *attention);

/// Runs one unit (a vlm_task): context is the vlm_attention.
void vlm_attention_unit(void *context, size_t unit, size_t worker);

/// Combines the parts of one sequence's one key-value head (a vlm_task).
void vlm_attention_combine(void *context, size_t unit, size_t worker);

#endif
