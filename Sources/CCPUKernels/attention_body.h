// The attention engine for one instruction set: tiles of keys and values, packed for register-blocked products, and an online
// softmax (Milakov and Gimelshein 2018; Dao et al. 2022). The scores stay in the first-level cache, nothing of size
// tokens x context is ever stored.
//
// Products run on units of 32 bits: a float (PAIRS 0), or a pair of bfloat16 neighbours along the axis summed over (PAIRS 1,
// vdpbf16ps, twice the rate). The left operand is read row by row, one unit broadcast at a time; the right operand lies in
// panels of some vectors of columns, unit row after unit row. Both scores = q kT and out = p v have this form.
//
// A row's result does not depend on the other rows in its unit: tiles begin at multiples of TILE keys, every product is
// summed in the same order whatever the number of rows, and a tile in which a row sees nothing leaves its state unchanged.
// Over a cache it does not depend on how the sequence came there either: a prompt in one piece, in chunks or token by token
// gives the same bits. So a prompt's rows, too, are computed in parts of SPLIT keys and combined as a decoding step's are.

#include "vector.h"

// Registers: AVX-512 and Advanced SIMD have 32, the others 16.
#undef MOST_VECTORS
#undef KEY_VECTORS
#if X86_LEVEL == 3
#define MOST_VECTORS 5
#define KEY_VECTORS 4
#elif X86_LEVEL == 0 && defined(__aarch64__)
#define MOST_VECTORS 4
#define KEY_VECTORS 4
#else
#define MOST_VECTORS 2
#define KEY_VECTORS 2
#endif

#undef UNIT_ELEMENTS
#define UNIT_ELEMENTS (PAIRS ? 2 : 1)

INLINE VF ISA(multiply_add)(VF sum, VF a, VF b) {
#if PAIRS
    return (VF)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    return sum + a * b;
#endif
}

// c [rows, vectors] = a [rows, depth] b [depth, vectors] + factor * c, without the last term where factors is NULL. The sizes
// are constants where this is inlined, so that the sums live in registers.
INLINE void ISA(product_block)(
    const int rows, const int vectors, const float *a, long a_stride, const float *b, long depth, float *c, long c_stride,
    const float *factors) {
    VF sums[12][5];
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
        for (int j = 0; j < vectors; j++)
            sums[i][j] = factors ? ISA(load)(c + i * c_stride + j * W) * factors[i] : ISA(splat)(0);
    for (long k = 0; k < depth; k++) {
        VF row[5];
#pragma clang loop unroll(full)
        for (int j = 0; j < vectors; j++) row[j] = ISA(load)(b + (k * vectors + j) * W);
#pragma clang loop unroll(full)
        for (int i = 0; i < rows; i++) {
            VF x = ISA(splat)(a[i * a_stride + k]);
#pragma clang loop unroll(full)
            for (int j = 0; j < vectors; j++) sums[i][j] = ISA(multiply_add)(sums[i][j], x, row[j]);
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
#pragma clang loop unroll(full)
        for (int j = 0; j < vectors; j++) ISA(store)(c + i * c_stride + j * W, sums[i][j]);
}

// All rows of a product with one panel: blocks of `most` rows, then of 4, 2 and 1.
INLINE void ISA(product_rows)(
    const int most, const int vectors, long rows, const float *a, long a_stride, const float *b, long depth, float *c,
    long c_stride, const float *factors) {
    long i = 0;
#define BLOCK(n) \
    ISA(product_block)( \
        n, vectors, a + i * a_stride, a_stride, b, depth, c + i * c_stride, c_stride, factors ? factors + i : NULL)
    for (; i + most <= rows; i += most) BLOCK(most);
    if (most > 8 && i + 8 <= rows) {
        BLOCK(8);
        i += 8;
    }
    if (most > 4 && i + 4 <= rows) {
        BLOCK(4);
        i += 4;
    }
    if (i + 2 <= rows) {
        BLOCK(2);
        i += 2;
    }
    for (; i < rows; i++) BLOCK(1);
#undef BLOCK
}

static __attribute__((noinline)) void ISA(product)(
    int vectors, long rows, const float *a, long a_stride, const float *b, long depth, float *c, long c_stride,
    const float *factors) {
#define PANEL(most, n) ISA(product_rows)(most, n, rows, a, a_stride, b, depth, c, c_stride, factors)
    switch (vectors) {
#if MOST_VECTORS == 5
        case 1: PANEL(12, 1); break;
        case 2: PANEL(12, 2); break;
        case 3: PANEL(8, 3); break;
        case 4: PANEL(6, 4); break;
        case 5: PANEL(5, 5); break;
#elif MOST_VECTORS == 4
        case 1: PANEL(12, 1); break;
        case 2: PANEL(12, 2); break;
        case 3: PANEL(8, 3); break;
        case 4: PANEL(6, 4); break;
#else
        case 1: PANEL(8, 1); break;
        case 2: PANEL(6, 2); break;
#endif
    }
#undef PANEL
}

// Asks for a row of `size` elements.
INLINE void ISA(prefetch)(const char *row, vlm_element type, long size) {
    long bytes = size * (type == VLM_F32 ? 4 : 2);
    for (long offset = 0; offset < bytes; offset += 64) __builtin_prefetch(row + offset);
}

// W units of a row of `size` elements from unit `unit` on, zeros behind its end.
INLINE VF ISA(load_units)(const char *row, vlm_element type, long unit, long size) {
    long first = unit * UNIT_ELEMENTS, left = size - first;
#if PAIRS
    if (type == VLM_BF16) {
        const uint16_t *p = (const uint16_t *)row + first;
        if (left >= 32) return (VF)_mm512_loadu_si512(p);
        return (VF)_mm512_maskz_loadu_epi16(left > 0 ? (__mmask32)((1u << left) - 1) : 0, p);
    }
    const float *p = (const float *)row + first;
    VF low = left >= W ? ISA(load)(p) : ISA(load_part)(p, left > 0 ? left : 0);
    VF high = left >= 2 * W ? ISA(load)(p + W) : left > W ? ISA(load_part)(p + W, left - W) : ISA(splat)(0);
    return (VF)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
#else
    if (type == VLM_BF16) {
        const uint16_t *p = (const uint16_t *)row + first;
        if (left >= W) return ISA(widen_bf16)(p);
        VU bits = {0};
        for (long i = 0; i < left; i++) bits[i] = (uint32_t)p[i] << 16;
        return (VF)bits;
    }
    const float *p = (const float *)row + first;
    return left >= W ? ISA(load)(p) : ISA(load_part)(p, left > 0 ? left : 0);
#endif
}

// Turns W vectors of W units into their transpose.
INLINE void ISA(transpose)(VF x[W]) {
#if X86_LEVEL == 3
    __m512i r[16], t[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) r[i] = (__m512i)x[i];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    // r[4 g + c] holds, in its lane l of 128 bits, column 4 l + c of rows 4 g ..< 4 g + 4.
#pragma clang loop unroll(full)
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88), b = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        __m512i d = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd), e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(a, b, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(a, b, 0xdd);
        t[4 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(d, e, 0xdd);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) x[i] = (VF)t[i];
#else
    // Squares off the diagonal change places, half as large in each step.
#define STEP(d, first, second) \
    for (int i = 0; i < W; i++) \
        if (!(i & d)) { \
            VF a = x[i], b = x[i + d]; \
            x[i] = first; \
            x[i + d] = second; \
        }
#if W == 8
#pragma clang loop unroll(full)
    STEP(4, __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11), __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#pragma clang loop unroll(full)
    STEP(2, __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13), __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#pragma clang loop unroll(full)
    STEP(1, __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14), __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15))
#else
#pragma clang loop unroll(full)
    STEP(2, __builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7))
#pragma clang loop unroll(full)
    STEP(1, __builtin_shufflevector(a, b, 0, 4, 2, 6), __builtin_shufflevector(a, b, 1, 5, 3, 7))
#endif
#undef STEP
#endif
}

// Keys, transposed: panels of KEY_VECTORS W keys, of each panel the units of the head one after another. Keys behind `count`
// are zeros as far as the next multiple of W, undefined further on.
static void ISA(pack_keys)(
    const char *const *rows, vlm_element type, long count, long available, long size, const char *zeros, float *out) {
    long units = (size + UNIT_ELEMENTS - 1) / UNIT_ELEMENTS, width = KEY_VECTORS * W;
    for (long key = 0; key < count; key += W) {
        float *panel = out + key / width * width * units + key % width;
        for (long i = key + AHEAD; i < key + AHEAD + W && i < available; i++) ISA(prefetch)(rows[i], type, size);
        for (long unit = 0; unit < units; unit += W) {
            VF x[W];
            long n = units - unit < W ? units - unit : W;
#if X86_LEVEL == 3
#pragma clang loop unroll(full)
#endif
            for (int i = 0; i < W; i++) x[i] = ISA(load_units)(key + i < count ? rows[key + i] : zeros, type, unit, size);
            ISA(transpose)(x);
            if (n == W)
#pragma clang loop unroll(full)
                for (int i = 0; i < W; i++) ISA(store)(panel + (unit + i) * width, x[i]);
            else
                for (int i = 0; i < n; i++) ISA(store)(panel + (unit + i) * width, x[i]);
        }
    }
}

// How the dimensions of a head are cut into panels: `wide` of `vectors` vectors, then the rest of one vector less.
typedef struct {
    int panels, vectors, wide;
} ISA(value_panels);

INLINE ISA(value_panels) ISA(cut_values)(long size) {
    int vectors = (int)((size + W - 1) / W), panels = (vectors + MOST_VECTORS - 1) / MOST_VECTORS;
    int base = vectors / panels, rest = vectors % panels;
    return (ISA(value_panels)){panels, rest ? base + 1 : base, rest ? rest : panels};
}

// Values: panels of dimensions, of each panel the keys (or pairs of keys) one after another. An odd last key is paired with
// zeros.
static void ISA(pack_values)(
    const char *const *rows, vlm_element type, long count, long available, long size, const char *zeros, float *out) {
    ISA(value_panels) cut = ISA(cut_values)(size);
    long units = (count + UNIT_ELEMENTS - 1) / UNIT_ELEMENTS;
    for (long unit = 0; unit < units; unit++) {
        float *panel = out;
        long first = 0;
        for (long i = unit * UNIT_ELEMENTS + AHEAD; i < (unit + 1) * UNIT_ELEMENTS + AHEAD && i < available; i++)
            ISA(prefetch)(rows[i], type, size);
        for (int p = 0; p < cut.panels; p++) {
            int vectors = p < cut.wide ? cut.vectors : cut.vectors - 1;
            for (int j = 0; j < vectors; j++, first += W) {
                long left = size - first;
                VF x;
#if PAIRS
                const char *low = rows[2 * unit], *high = 2 * unit + 1 < count ? rows[2 * unit + 1] : zeros;
                __mmask16 mask = (__mmask16)(left >= W ? 0xffff : (1u << left) - 1);
                if (type == VLM_BF16) {
                    __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)low + first));
                    __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)high + first));
                    x = (VF)_mm512_or_si512(a, _mm512_slli_epi32(b, 16));
                } else {
                    __m512 a = _mm512_maskz_loadu_ps(mask, (const float *)low + first);
                    __m512 b = _mm512_maskz_loadu_ps(mask, (const float *)high + first);
                    __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(b, a);
                    x = (VF)_mm512_or_si512(
                        _mm512_cvtepu16_epi32(_mm512_castsi512_si256(halves)),
                        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(halves, 1)), 16));
                }
#else
                (void)left;
                (void)zeros;
                x = ISA(load_units)(rows[unit], type, first, size);
#endif
                ISA(store)(panel + (unit * vectors + j) * W, x);
            }
            panel += units * vectors * W;
        }
    }
}

// The scores of W keys with each of `rows` queries, summed in the order of ISA(product): unit after unit.
INLINE void ISA(few_products)(
    const int rows, const char *const *keys, long count, vlm_element type, long size, long units, const char *zeros, const float *q,
    long q_stride, float *scores) {
    VF sums[FEW_ROWS];
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) sums[row] = ISA(splat)(0);
    for (long unit = 0; unit < units; unit += W) {
        VF x[W];
        if (count >= W)
#pragma clang loop unroll(full)
            for (int i = 0; i < W; i++) x[i] = ISA(load_units)(keys[i], type, unit, size);
        else
            for (int i = 0; i < W; i++) x[i] = ISA(load_units)(i < count ? keys[i] : zeros, type, unit, size);
        ISA(transpose)(x);
        long n = units - unit;
        if (n >= W)
#pragma clang loop unroll(full)
            for (int i = 0; i < W; i++)
#pragma clang loop unroll(full)
                for (int row = 0; row < rows; row++)
                    sums[row] = ISA(multiply_add)(sums[row], ISA(splat)(q[row * q_stride + unit + i]), x[i]);
        else
            for (int i = 0; i < n; i++)
                for (int row = 0; row < rows; row++)
                    sums[row] = ISA(multiply_add)(sums[row], ISA(splat)(q[row * q_stride + unit + i]), x[i]);
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) ISA(store)(scores + row * TILE, sums[row]);
}

// The scores of a few rows straight from keys that are not packed. Keys pass in the order they lie in memory, which the
// processor's prefetching follows.
static void ISA(few_scores)(
    const char *const *keys, vlm_element type, long count, long available, long size, const char *zeros, long rows, const float *q,
    long q_stride, float *scores) {
    long units = (size + UNIT_ELEMENTS - 1) / UNIT_ELEMENTS;
    for (long key = 0; key < count; key += W) {
        for (long i = key + AHEAD; i < key + AHEAD + W && i < available; i++) ISA(prefetch)(keys[i], type, size);
#define ROWS(n) \
    case n: ISA(few_products)(n, keys + key, count - key, type, size, units, zeros, q, q_stride, scores + key); break;
        switch (rows) {
            ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8)
        }
#undef ROWS
    }
}

// Adds a part of the context to those before it: unnormalised results, maxima as base-2 logarithms, sums of weights. A part in
// which the row sees nothing changes nothing; the first other one is taken as it is.
INLINE void ISA(fold)(
    float *o, float *maximum, float *sum, const float *part, float part_maximum, float part_sum, long size) {
    // Rounded after each operation, so that every instruction set gives the same bits.
#pragma clang fp contract(off)
    if (part_sum == 0) return;
    if (*sum == 0) {
        memcpy(o, part, (size_t)size * sizeof(float));
        *maximum = part_maximum;
        *sum = part_sum;
    } else if (part_maximum > *maximum) {
        float factor = power_of_two(*maximum - part_maximum);
        for (long i = 0; i < size; i++) o[i] = o[i] * factor + part[i];
        *sum = *sum * factor + part_sum;
        *maximum = part_maximum;
    } else {
        float factor = power_of_two(part_maximum - *maximum);
        for (long i = 0; i < size; i++) o[i] = o[i] + part[i] * factor;
        *sum = *sum + part_sum * factor;
    }
}

// One row of a tile: scores [columns] become weights of base 2 relative to the row's largest score so far, written to p in
// units and added to the row's W partial sums. Columns outside [low, high) get weight 0. `log2_scale` turns products into
// base-2 logarithms. Returns the factor by which what the row has gathered so far shrinks.
static float ISA(soften)(
    const vlm_attention *a, float log2_scale, float *scores, long columns, long low, long high, float *maximum, float *sums,
    float *p) {
    columns = (columns + W - 1) / W * W;
    if (low > columns) low = columns;
    if (high < low) high = low;
    if (a->softcap > 0) {
        float inner = a->scale / a->softcap, outer = a->softcap * 1.44269504f;
        for (long i = 0; i < columns; i += W) ISA(store)(scores + i, outer * ISA(tanh)(ISA(load)(scores + i) * inner));
    }
    for (long i = 0; i < low; i++) scores[i] = -INFINITY;
    for (long i = high; i < columns; i++) scores[i] = -INFINITY;
    VF top = ISA(load)(scores);
    for (long i = W; i < columns; i += W) top = ISA(larger)(top, ISA(load)(scores + i));
    float before = *maximum, now = ISA(largest)(top) * log2_scale;
    now = now > before ? now : before;
    *maximum = now;
    // A row that has seen nothing yet has no maximum to subtract; its weights are 0 all the same.
    float offset = now == -INFINITY ? 0 : now;
    VF sum = ISA(splat)(0);
    for (long i = 0; i < columns; i += W) {
        VF weight = ISA(exp2)(ISA(load)(scores + i) * log2_scale - offset, !PAIRS);
        sum += weight;
#if PAIRS
        _mm256_storeu_si256((__m256i *)(p + i / 2), (__m256i)_mm512_cvtneps_pbh((__m512)weight));
#else
        ISA(store)(p + i, weight);
#endif
    }
    float factor = before == now ? 1 : ISA(exp2)(ISA(splat)(before - offset), true)[0];
    ISA(store)(sums, ISA(load)(sums) * factor + sum);
    return factor;
}

// Ends a part of the context: folds every row's results into those of the parts before and begins anew.
static void ISA(fold_rows)(const unit_of_work *work, const unit_scratch *s, long size, long o_stride) {
    for (long i = 0; i < work->rows; i++) {
        float sum = ISA(sum)(ISA(load)(s->sums + i * W));
        if (sum == 0) continue;
        float *o = s->o + i * o_stride;
        ISA(fold)(s->folded_o + i * o_stride, s->folded_maxima + i, s->folded_sums + i, o, s->maxima[i], sum, size);
        memset(o, 0, (size_t)o_stride * sizeof(float));
        ISA(store)(s->sums + i * W, ISA(splat)(0));
        s->maxima[i] = -INFINITY;
    }
}

static void ISA(attend)(const vlm_attention *a, const unit_of_work *work, const unit_scratch *s) {
    const vlm_attention_sequence *sequence = work->sequence;
    long group = a->heads / a->kv_heads, size = a->head_size, units = (size + UNIT_ELEMENTS - 1) / UNIT_ELEMENTS;
    long q_stride = (units + W - 1) / W * W, o_stride = (size + W - 1) / W * W;
    ISA(value_panels) cut = ISA(cut_values)(size);
    float log2_scale = a->softcap > 0 ? 1.0f : a->scale * 1.44269504f;

    for (long i = 0; i < work->rows; i++) {
        long row = work->first_row + i;
        const float *from = row_of(a, work, a->q, a->q_stride, row);
        // Rows lie a whole token apart, too far for the processor's own prefetching.
        if (i + NEAR < work->rows)
            ISA(prefetch)((const char *)row_of(a, work, a->q, a->q_stride, row + NEAR), VLM_F32, size);
        for (long unit = 0; unit < units; unit += W)
            ISA(store)(s->q + i * q_stride + unit, ISA(load_units)((const char *)from, VLM_F32, unit, size));
        s->maxima[i] = -INFINITY;
        ISA(store)(s->sums + i * W, ISA(splat)(0));
    }
    memset(s->o, 0, (size_t)(work->rows * o_stride) * sizeof(float));
    memset(s->zeros, 0, (size_t)size * 4);

    long first_token = work->first_row / group, last_token = (work->first_row + work->rows - 1) / group;
    long visible = first_key(a, sequence, first_token), end = last_key(a, sequence, last_token);
    long begin = visible > work->first_key ? visible : work->first_key;
    if (end > work->end_key) end = work->end_key;
    // By the sequence's rows, not the unit's: how a row is computed must not depend on where the units are cut.
    bool few = sequence->tokens * group <= FEW_ROWS && (!PAIRS || a->type == VLM_BF16);

    // A decoding step's parts are units of their own.
    bool folds = a->tables && !work->partial && begin / SPLIT < (end - 1) / SPLIT;
    if (folds)
        for (long i = 0; i < work->rows; i++) s->folded_sums[i] = 0;

    for (long tile = begin / TILE * TILE; tile < end; tile += TILE) {
        if (folds && tile % SPLIT == 0) ISA(fold_rows)(work, s, size, o_stride);
        long count = end - tile < TILE ? end - tile : TILE;
        long ahead = end - tile < TILE + AHEAD ? end - tile : TILE + AHEAD;
        find_rows(a, work, a->k, a->k_stride, tile, ahead, visible, s->zeros, s->k_rows);
        find_rows(a, work, a->v, a->v_stride, tile, ahead, visible, s->zeros, s->v_rows);
        if (tile <= begin) {
            for (long i = 0; i < AHEAD && i < count; i++) ISA(prefetch)(s->v_rows[i], a->type, size);
            for (long i = 0; i < AHEAD && i < count; i++) ISA(prefetch)(s->k_rows[i], a->type, size);
        }
        ISA(pack_values)(s->v_rows, a->type, count, ahead, size, s->zeros, s->v);
        if (!few) ISA(pack_keys)(s->k_rows, a->type, count, ahead, size, s->zeros, s->k);
        long value_units = (count + UNIT_ELEMENTS - 1) / UNIT_ELEMENTS;

        long blocks = (work->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
        for (long b = 0; b < blocks; b++) {
            long block = work->rows * b / blocks, rows = work->rows * (b + 1) / blocks - block;
            long top = (work->first_row + block) / group, bottom = (work->first_row + block + rows - 1) / group;
            long columns = last_key(a, sequence, bottom) - tile;
            if (columns > count) columns = count;
            if (columns <= 0 || first_key(a, sequence, top) >= tile + count) continue;

            if (few)
                ISA(few_scores)(
                    s->k_rows, a->type, columns, ahead, size, s->zeros, rows, s->q + block * q_stride, q_stride, s->scores);
            else
                for (long key = 0; key < columns; key += KEY_VECTORS * W) {
                    // A panel's last vectors are computed only where there are keys.
                    ISA(product)(
                        KEY_VECTORS, rows, s->q + block * q_stride, q_stride, s->k + key * units, units, s->scores + key, TILE,
                        NULL);
                }
            for (long i = 0; i < rows; i++) {
                long token = (work->first_row + block + i) / group;
                long low = first_key(a, sequence, token) - tile, high = last_key(a, sequence, token) - tile;
                s->factors[i] = ISA(soften)(
                    a, log2_scale, s->scores + i * TILE, columns, low > 0 ? low : 0, high < columns ? high : columns,
                    s->maxima + block + i, s->sums + (block + i) * W, s->p + i * (TILE / UNIT_ELEMENTS));
            }
            const float *panel = s->v;
            float *o = s->o + block * o_stride;
            long depth = (columns + UNIT_ELEMENTS - 1) / UNIT_ELEMENTS;
            for (int p = 0; p < cut.panels; p++) {
                int vectors = p < cut.wide ? cut.vectors : cut.vectors - 1;
                ISA(product)(vectors, rows, s->p, TILE / UNIT_ELEMENTS, panel, depth, o, o_stride, s->factors);
                panel += value_units * vectors * W;
                o += vectors * W;
            }
        }
    }

    if (folds) ISA(fold_rows)(work, s, size, o_stride);
    for (long i = 0; i < work->rows; i++) {
        const float *o = (folds ? s->folded_o : s->o) + i * o_stride;
        float sum = folds ? s->folded_sums[i] : ISA(sum)(ISA(load)(s->sums + i * W));
        if (work->partial) {
            memcpy(work->partial + i * size, o, (size_t)size * sizeof(float));
            work->partial[group * size + i] = s->maxima[i];
            work->partial[group * size + group + i] = sum;
        } else {
            long row = work->first_row + i;
            float *to = (float *)row_of(a, work, a->out, a->out_stride, row);
            if (i + NEAR < work->rows) {
                float *later = (float *)row_of(a, work, a->out, a->out_stride, row + NEAR);
                for (long d = 0; d < size; d += 16) __builtin_prefetch(later + d, 1);
            }
            // A row that sees nothing is zero, not 0/0.
            float inverse = sum == 0 ? 0 : 1 / sum;
            for (long d = 0; d < size; d++) to[d] = o[d] * inverse;
        }
    }
}
