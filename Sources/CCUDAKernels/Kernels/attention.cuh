// What the attention kernels of all kinds share: which rows and keys a block has.
//
// VLM_OPTION 0: causal over a paged cache, 1: bidirectional inside segments.
#pragma once

#include "ptx.cuh"

constexpr bool paged = VLM_OPTION == 0;

// The work of one block: rows `row ..< rows` of a sequence (at most a tile of them), and the keys that any of them sees.
struct attention_tile {
    // Paged: the sequence's row of the block table.
    const int32_t *blocks;
    // First row of the sequence in q, out and, for segments, k and v.
    int32_t first;
    // Tile rows: tokens times query heads of a key head.
    int32_t row;
    int32_t rows;
    int32_t group;
    int32_t kv_head;
    // Position of the sequence's first new token.
    int32_t position;
    // How many keys each of the sequence's tokens sees, or null: up to its own.
    const int32_t *ends;
    // Keys `keys_begin ..< keys_end` are visible to some row of the tile; those outside must not be read.
    int32_t keys_begin;
    int32_t keys_end;

    __device__ __forceinline__ int32_t token(int32_t r) const { return group == 1 ? r : (int32_t)((uint32_t)r / (uint32_t)group); }
    // Query head of tile row r, which is of token `token`.
    __device__ __forceinline__ int32_t head(int32_t r, int32_t token) const { return kv_head * group + r - token * group; }
    // Keys `begin ..< end` are what tile row r sees.
    __device__ __forceinline__ int2 visible(int32_t r, int32_t window) const {
        if (!paged) return make_int2(0, keys_end);
        int32_t own = token(r), end = position + own + 1;
        return make_int2(window > 0 ? end - window : 0, ends ? ends[min(own, token(rows - 1))] : end);
    }
};

// Finds the tile of this block, long ones first; false when it is empty. All warps must call it whole.
template <int tile_rows>
__device__ __forceinline__ bool find_tile(const vlm_cuda_attention &p, attention_tile &t) {
    const int32_t *starts = (const int32_t *)p.starts;
    t.group = p.heads / p.kv_heads;
    int32_t tile = (int32_t)(blockIdx.x / (uint32_t)p.kv_heads);
    t.kv_head = (int32_t)blockIdx.x - tile * p.kv_heads;
    int32_t low = 0, first_tile = 0;
    if (p.sequence_tiles > 0) {
        if (paged) {
            // Later tiles of a causal sequence have more keys; those of all sequences go first.
            low = tile % p.sequences;
            tile = p.sequence_tiles - 1 - tile / p.sequences;
        } else {
            low = tile / p.sequence_tiles;
            tile -= low * p.sequence_tiles;
        }
    } else {
        if (paged) tile = (int32_t)(gridDim.x / (uint32_t)p.kv_heads) - 1 - tile;
        // The last sequence s with starts[s] · group / tile_rows + s <= tile, each lane trying one of 32.
        int32_t count = p.sequences, lane = threadIdx.x & 31;
        while (count > 1) {
            int32_t step = (count + 31) / 32, s = low + lane * step;
            bool before = lane * step < count && (int64_t)starts[s] * t.group / tile_rows + s <= tile;
            int32_t taken = (__popc(__ballot_sync(0xffffffffu, before)) - 1) * step;
            low += taken;
            count = min(step, count - taken);
        }
        first_tile = (int32_t)((int64_t)starts[low] * t.group / tile_rows) + low;
    }
    t.first = starts[low];
    int32_t tokens = starts[low + 1] - t.first;
    t.rows = tokens * t.group;
    t.row = (tile - first_tile) * tile_rows;
    if (t.row >= t.rows) return false;
    if (paged) {
        t.blocks = (const int32_t *)p.tables + (int64_t)low * p.table_stride;
        t.position = ((const int32_t *)p.contexts)[low] - tokens;
        t.ends = p.ends ? (const int32_t *)p.ends + t.first : nullptr;
        t.keys_end = max(t.visible(min(t.row + tile_rows, t.rows) - 1, 0).y, 0);
        t.keys_begin = p.window > 0 ? max(t.position + t.token(t.row) + 1 - p.window, 0) : 0;
    } else {
        t.blocks = nullptr;
        t.position = 0;
        t.ends = nullptr;
        t.keys_begin = 0;
        t.keys_end = tokens;
    }
    return true;
}

// Elements of the cache before those of a key of this tile's head that lies in `block`.
template <int head_size>
__device__ __forceinline__ int64_t cached_key_offset(const vlm_cuda_attention &p, const attention_tile &t, int32_t block, int32_t key) {
    int32_t offset = key & ((1 << p.block_shift) - 1);
    return ((((int64_t)block * p.kv_heads + t.kv_head) << p.block_shift) + offset) * head_size;
}

// Elements of `p.k` before those of a key of this tile's sequence and head.
template <int head_size>
__device__ __forceinline__ int64_t key_offset(const vlm_cuda_attention &p, const attention_tile &t, int32_t key, int64_t stride) {
    if (!paged) return (t.first + key) * stride + t.kv_head * head_size;
    return cached_key_offset<head_size>(p, t, t.blocks[key >> p.block_shift], key);
}

// Softmax in powers of two: a score times this is its exponent.
constexpr float log2_e = 1.4426950408889634f;
#define negative_infinity __int_as_float((int)0xff800000)
