// The work of Hopper attention: its tiles, what the warps of a block tell each other about them, and the rings that keys and values come through.
#pragma once

#include "attention_hopper.cuh"

#ifndef VLM_HEAD_SIZE
#define VLM_HEAD_SIZE 64
#endif
// A last step of that few keys has a product of its own: a picture of 1025 rows is 8 steps and 1 row.
constexpr int NARROW = 16;
#ifndef HOPPER_GROUPS
#define HOPPER_GROUPS (VLM_HEAD_SIZE <= 64 ? VLM_HOPPER_GROUPS_NARROW : VLM_HOPPER_GROUPS_WIDE)
#endif
#ifndef HOPPER_STAGES
#define HOPPER_STAGES (VLM_HEAD_SIZE <= 64 ? VLM_HOPPER_STAGES_NARROW : VLM_HOPPER_STAGES_WIDE)
#endif

#ifndef HOPPER_SUM_COLUMN
#define HOPPER_SUM_COLUMN 0
#endif

constexpr int HEAD = VLM_HEAD_SIZE, GROUPS = HOPPER_GROUPS, STAGES = HOPPER_STAGES, KEYS = VLM_HOPPER_KEYS;
constexpr int BOXES = (HEAD + 63) / 64, STEPS = (HEAD + 15) / 16;
constexpr int ROWS = 64 * GROUPS, WORKERS = 128 * GROUPS;
constexpr int QUERY_BOX = ROWS * 128, KEY_BOX = KEYS * 128, STAGE = BOXES * KEY_BOX;
// Whether the sums of weights come from the product with a column of ones after the values, instead of additions.
constexpr bool SUM_COLUMN = HOPPER_SUM_COLUMN;
constexpr int WIDTH = HEAD + (SUM_COLUMN ? 8 : 0);
// The score of a key that a row does not see: minus infinity.
#define NOTHING __int_as_float(0xff800000)

#if __CUDA_ARCH_FEAT_SM90_ALL && VLM_ELEMENT != 0

// One tile of the work.
struct Tile {
    int head;      // of keys and values
    int row;       // of q: the tile's first token
    int tokens;    // 0: nothing to do
    int first;     // keys that the first token sees: positions below this, ...
    int last;      // ... and the last token; causal: last = first + tokens - 1
    int low;       // first position that the first token sees
    int sequence;
    int begin;     // first row of the sequence (contiguous keys)
};

// A value that all lanes have in common, so that the compiler knows: products need control flow that is the same in all lanes.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(0xffffffffu, x, 0); }

// Finds work item `item`. Every thread of a warp calls it. Later tiles of a sequence come first: under causality they are the
// longest.
__device__ __forceinline__ Tile find_tile(const vlm_cuda_attention_hopper &p, int item) {
    Tile tile;
    int lane = threadIdx.x & 31, index = p.tiles - 1 - item / p.kv_heads;
    tile.head = item % p.kv_heads;
    tile.tokens = 0;
    tile.sequence = tile.row = tile.first = tile.last = tile.low = tile.begin = 0;
    for (int base = 0; base < p.sequences; base += 32) {
        int s = base + lane, start = 0, rows = 0;
        if (s < p.sequences) {
            start = p.known ? p.known_starts[s] : p.starts[s];
            rows = (p.known ? p.known_starts[s + 1] : p.starts[s + 1]) - start;
        }
        // The last tile is up to last_tokens long.
        int count = rows > 0, sum;
        if (rows > p.last_tokens) count += (rows - p.last_tokens + p.tile_tokens - 1) / p.tile_tokens;
        sum = count;
#pragma unroll
        for (int d = 1; d < 32; d <<= 1) {
            int other = __shfl_up_sync(0xffffffffu, sum, d);
            if (lane >= d) sum += other;
        }
        uint32_t after = __ballot_sync(0xffffffffu, sum > index);
        if (after) {
            int owner = __ffs(after) - 1;
            int tile_index = __shfl_sync(0xffffffffu, index - (sum - count), owner);
            bool is_last = tile_index + 1 == __shfl_sync(0xffffffffu, count, owner);
            int at = tile_index * p.tile_tokens;
            tile.sequence = base + owner;
            tile.begin = __shfl_sync(0xffffffffu, start, owner);
            rows = __shfl_sync(0xffffffffu, rows, owner);
            tile.row = tile.begin + at;
            tile.tokens = is_last ? rows - at : p.tile_tokens;
            if (p.contexts) {
                int context = p.known ? p.known_contexts[tile.sequence] : p.contexts[tile.sequence];
                tile.first = context - rows + at + 1;
                tile.last = tile.first + tile.tokens - 1;
                tile.low = max(0, tile.first - p.window);
                if (tile.first < 1) tile.tokens = 0;
            } else {
                tile.first = tile.last = rows;
            }
            break;
        }
        index -= __shfl_sync(0xffffffffu, sum, 31);
    }
    return tile;
}

// The item a block does in its round r: forth and back, so that blocks get equal shares of work that comes longest first.
__device__ __forceinline__ int item_of(int round) {
    int place = round & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
    return round * gridDim.x + place;
}

// Values that are not all of the sequence.
struct Tail {
    int stage;  // negative: the end
    int valid;  // rows that are
    int end;    // rows that are read
};

// What the warps of a block tell each other.
struct Board {
    uint64_t query_full, query_empty;
    uint64_t key_full[STAGES], key_empty[STAGES], value_full[STAGES], value_empty[STAGES];
    // Tiles in turn; a tile of no tokens is the end. The one before is still being stored while the next is announced.
    Tile tiles[2];
    // Values of the tiles' last positions, on their way through clear_values.
    uint64_t tail_full[2];
    Tail tails[2];
};

// The steps a thread has been through, for its place in the rings and the parity of its full barriers there.
struct Ring {
    uint32_t steps;
    __device__ __forceinline__ int stage() const { return steps % STAGES; }
    __device__ __forceinline__ int parity() const { return steps / STAGES & 1; }
    __device__ __forceinline__ Ring before() const { return {steps - 1}; }
    __device__ __forceinline__ Ring after() const { return {steps + 1}; }
};

#endif
