// Attention on the tensor cores of sm_80 and later: FlashAttention-2 (arXiv 2307.08691).
//
// Four warps share tiles of 64 keys and values in shared memory, each has 16 or 32 query rows. While scores are computed the values
// arrive, while values are summed the next keys arrive. Scores, softmax and sums are float32; weights are rounded to the element
// type for the product with the values. A row's result does not depend on which tile it is in.
#include "attention.cuh"
#include "mma.cuh"

constexpr int head_size = VLM_HEAD_SIZE;
// Elements, padded with zeros to whole fragments, and 16-byte chunks of a row.
constexpr int padded = (head_size + 15) / 16 * 16;
constexpr int chunks = head_size / 8;
constexpr int padded_chunks = padded / 8;
// Bytes of a row in shared memory: an odd number of chunks, so that ldmatrix meets every bank once.
constexpr int pitch = padded * 2 + 16;
constexpr int tile_keys = 64;
constexpr int threads = 128;

static_assert(head_size % 8 == 0 && head_size <= 256, "rows are read in chunks of 8 elements");

// Threads copy the same chunk of every `pass_rows`th row.
constexpr int pass_rows = threads / padded_chunks;
constexpr int passes = (tile_keys + pass_rows - 1) / pass_rows;

// Whether a tile of keys lies in one block of the cache.
__device__ __forceinline__ bool tile_is_contiguous(const vlm_cuda_attention &p) { return !paged || 1 << p.block_shift >= tile_keys; }

// The cache's block of a tile's first key, when that has them all.
__device__ __forceinline__ int32_t block_of(const vlm_cuda_attention &p, const attention_tile &t, int32_t first) {
    return paged && tile_is_contiguous(p) ? t.blocks[first >> p.block_shift] : 0;
}

// Begins the copies of keys or values `first ..< first + tile_keys`; what no row sees becomes zero. `block` is theirs.
__device__ __forceinline__ void load_keys(
    const vlm_cuda_attention &p, const attention_tile &t, const void *source, int64_t stride, int32_t first, int32_t block,
    uint32_t shared) {
    int own = threadIdx.x / padded_chunks, chunk = threadIdx.x % padded_chunks;
    if (own < pass_rows) {
        const element_t *base = (const element_t *)source + chunk * 8;
        shared += own * pitch + chunk * 16;
        if (tile_is_contiguous(p)) {
            int64_t step = paged ? head_size : stride;
            const element_t *line = base + own * step;
            line += paged ? cached_key_offset<head_size>(p, t, block, first) : key_offset<head_size>(p, t, first, stride);
            step *= pass_rows;
            if (first >= t.keys_begin && first + tile_keys <= t.keys_end && chunks == padded_chunks) {
#pragma unroll
                for (int i = 0; i < passes; i++)
                    if (tile_keys % pass_rows == 0 || own + i * pass_rows < tile_keys)
                        copy_async(shared + i * pass_rows * pitch, line + i * step);
            } else {
#pragma unroll
                for (int i = 0; i < passes; i++) {
                    int32_t key = first + own + i * pass_rows;
                    bool valid = key >= t.keys_begin && key < t.keys_end && chunk < chunks;
                    if (tile_keys % pass_rows == 0 || own + i * pass_rows < tile_keys)
                        copy_async(shared + i * pass_rows * pitch, valid ? line + i * step : base, valid);
                }
            }
        } else {
            // All look-ups first, then all copies, so that their latencies overlap.
            int64_t offsets[passes];
#pragma unroll
            for (int i = 0; i < passes; i++) {
                int32_t key = first + own + i * pass_rows;
                bool valid = key >= t.keys_begin && key < t.keys_end && chunk < chunks;
                offsets[i] = valid ? key_offset<head_size>(p, t, key, stride) : -1;
            }
#pragma unroll
            for (int i = 0; i < passes; i++)
                if (tile_keys % pass_rows == 0 || own + i * pass_rows < tile_keys)
                    copy_async(shared + i * pass_rows * pitch, base + max(offsets[i], (int64_t)0), offsets[i] >= 0);
        }
    }
    commit_copies();
}

// `row_tiles`: how many times 16 query rows a warp has.
template <int row_tiles>
__device__ __forceinline__ void attend(const vlm_cuda_attention &p) {
    constexpr int tile_rows = 4 * 16 * row_tiles;
    constexpr bool query_in_registers = row_tiles == 1 && padded <= 128;
    extern __shared__ __align__(128) uint8_t shared[];
    wait_for_previous();
    allow_next();
    attention_tile t;
    if (!find_tile<tile_rows>(p, t)) return;

    // This block's share of the keys, in whole tiles.
    int32_t key_tile = t.keys_begin / tile_keys, last_tile = (t.keys_end + tile_keys - 1) / tile_keys, parts = 1;
    if (p.splits > 1 && t.rows <= p.split_rows) {
        int32_t least = p.split_keys / tile_keys, all = last_tile - key_tile;
        parts = max(min(p.splits, (all + least - 1) / least), 1);
        if ((int32_t)blockIdx.y >= parts) return;
        int32_t each = (all + parts - 1) / parts;
        key_tile += each * (int32_t)blockIdx.y;
        last_tile = min(last_tile, key_tile + each);
    } else if (blockIdx.y > 0) {
        return;
    }

    uint32_t q_shared = shared_address(shared), k_shared = q_shared + tile_rows * pitch,
             v_shared = k_shared + tile_keys * pitch;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    int warp_row = warp * 16 * row_tiles;
    const element_t *q = (const element_t *)p.q;
#pragma unroll 4
    for (int index = threadIdx.x; index < tile_rows * padded_chunks; index += threads) {
        int row = index / padded_chunks, chunk = index % padded_chunks;
        int32_t r = t.row + row;
        bool valid = r < t.rows && chunk < chunks;
        const element_t *address = q;
        if (valid) {
            int32_t token = t.token(r);
            address += (int64_t)(t.first + token) * p.q_stride + t.head(r, token) * head_size + chunk * 8;
        }
        copy_async(q_shared + row * pitch + chunk * 16, address, valid);
    }
    int32_t block = 0;
    if (key_tile < last_tile) {
        block = block_of(p, t, key_tile * tile_keys);
        load_keys(p, t, p.k, p.k_stride, key_tile * tile_keys, block, k_shared);
    }

    float o[row_tiles][padded / 8][4], largest[row_tiles][2], total[row_tiles][2];
#pragma unroll
    for (int m = 0; m < row_tiles; m++) {
        largest[m][0] = largest[m][1] = negative_infinity;
        total[m][0] = total[m][1] = 0;
#pragma unroll
        for (int n = 0; n < padded / 8; n++) o[m][n][0] = o[m][n][1] = o[m][n][2] = o[m][n][3] = 0;
    }
    // Warps beyond the last row only copy.
    bool active = t.row + warp_row < t.rows;
    // Keys that every row of the tile sees need no mask.
    int32_t common_begin = 0, common_end = t.keys_end;
    if (paged) {
        common_end = t.visible(t.row, p.window).y;
        common_begin = t.visible(min(t.row + tile_rows, t.rows) - 1, p.window).x;
    }
    float factor = (p.softcap > 0 ? 1.0f : p.scale) * log2_e;
    float cap_factor = p.softcap > 0 ? 2 * log2_e * p.scale / p.softcap : 0;
    uint32_t q_address = q_shared + (warp_row + lane % 16) * pitch + lane / 16 * 16;
    uint32_t k_address = k_shared + (lane / 16 * 8 + lane % 8) * pitch + (lane / 8 & 1) * 16;
    uint32_t v_address = v_shared + lane % 16 * pitch + lane / 16 * 16;
    uint32_t query[query_in_registers ? padded / 16 : 1][4];

    for (bool begins = true; key_tile < last_tile; key_tile++, begins = false) {
        int32_t first_key = key_tile * tile_keys;
        bool goes_on = key_tile + 1 < last_tile;
        int32_t next_block = goes_on ? block_of(p, t, first_key + tile_keys) : 0;
        wait_for_copies<0>();
        __syncthreads();
        load_keys(p, t, p.v, p.v_stride, first_key, block, v_shared);
        float s[row_tiles][tile_keys / 8][4];
        if (active) {
            if (query_in_registers && begins) {
#pragma unroll
                for (int k = 0; k < padded / 16; k++) load_matrices(query[query_in_registers ? k : 0], q_address + k * 32);
            }
#pragma unroll
            for (int m = 0; m < row_tiles; m++)
#pragma unroll
                for (int n = 0; n < tile_keys / 8; n++) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0;
#pragma unroll
            for (int k = 0; k < padded / 16; k++) {
                uint32_t a[row_tiles][4];
#pragma unroll
                for (int m = 0; m < row_tiles; m++) {
                    if (query_in_registers) {
#pragma unroll
                        for (int i = 0; i < 4; i++) a[m][i] = query[query_in_registers ? k : 0][i];
                    } else {
                        load_matrices(a[m], q_address + m * 16 * pitch + k * 32);
                    }
                }
#pragma unroll
                for (int n = 0; n < tile_keys / 16; n++) {
                    uint32_t b[4];
                    load_matrices(b, k_address + n * 16 * pitch + k * 32);
#pragma unroll
                    for (int m = 0; m < row_tiles; m++) {
                        mma_16x8x16<element_t>(s[m][2 * n], a[m], b[0], b[1]);
                        mma_16x8x16<element_t>(s[m][2 * n + 1], a[m], b[2], b[3]);
                    }
                }
            }
        }
        wait_for_copies<0>();
        __syncthreads();
        if (goes_on) load_keys(p, t, p.k, p.k_stride, first_key + tile_keys, next_block, k_shared);
        block = next_block;
        if (!active) continue;

        if (p.softcap > 0) {
            // cap · tanh(x / cap) as cap · (1 - 2 / (exp(2 x / cap) + 1))
#pragma unroll
            for (int m = 0; m < row_tiles; m++)
#pragma unroll
                for (int n = 0; n < tile_keys / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        s[m][n][i] = p.softcap - __fdividef(2 * p.softcap, exp2_fast(fminf(s[m][n][i] * cap_factor, 80.0f)) + 1);
        }
        if (first_key < common_begin || first_key + tile_keys > common_end) {
#pragma unroll
            for (int m = 0; m < row_tiles; m++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int2 seen = t.visible(t.row + warp_row + m * 16 + half * 8 + lane / 4, p.window);
                    int32_t key = first_key + lane % 4 * 2;
#pragma unroll
                    for (int n = 0; n < tile_keys / 8; n++)
#pragma unroll
                        for (int i = 0; i < 2; i++)
                            if (key + n * 8 + i < seen.x || key + n * 8 + i >= seen.y) s[m][n][half * 2 + i] = negative_infinity;
                }
        }
#pragma unroll
        for (int m = 0; m < row_tiles; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float now = largest[m][half];
#pragma unroll
                for (int n = 0; n < tile_keys / 8; n++) now = fmaxf(now, fmaxf(s[m][n][half * 2], s[m][n][half * 2 + 1]));
                now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
                now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
                // A row that has seen no key yet keeps weights of zero.
                float offset = now == negative_infinity ? 0 : now * factor;
                float correction = exp2_fast(largest[m][half] * factor - offset);
                largest[m][half] = now;
                float sum = 0;
#pragma unroll
                for (int n = 0; n < tile_keys / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float weight = exp2_fast(fmaf(s[m][n][half * 2 + i], factor, -offset));
                        s[m][n][half * 2 + i] = weight;
                        sum += weight;
                    }
                total[m][half] = total[m][half] * correction + sum;
#pragma unroll
                for (int n = 0; n < padded / 8; n++) {
                    o[m][n][half * 2] *= correction;
                    o[m][n][half * 2 + 1] *= correction;
                }
            }
#pragma unroll
        for (int k = 0; k < tile_keys / 16; k++) {
            uint32_t a[row_tiles][4];
#pragma unroll
            for (int m = 0; m < row_tiles; m++) {
                a[m][0] = pack2<element_t>(s[m][2 * k][0], s[m][2 * k][1]);
                a[m][1] = pack2<element_t>(s[m][2 * k][2], s[m][2 * k][3]);
                a[m][2] = pack2<element_t>(s[m][2 * k + 1][0], s[m][2 * k + 1][1]);
                a[m][3] = pack2<element_t>(s[m][2 * k + 1][2], s[m][2 * k + 1][3]);
            }
#pragma unroll
            for (int n = 0; n < padded / 16; n++) {
                uint32_t b[4];
                load_matrices_transposed(b, v_address + k * 16 * pitch + n * 32);
#pragma unroll
                for (int m = 0; m < row_tiles; m++) {
                    mma_16x8x16<element_t>(o[m][2 * n], a[m], b[0], b[1]);
                    mma_16x8x16<element_t>(o[m][2 * n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }
    // A share without keys has copies of the queries under way still; nobody may leave before they have landed.
    wait_for_copies<0>();
    if (!active) return;

#pragma unroll
    for (int m = 0; m < row_tiles; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = total[m][half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            int32_t row = warp_row + m * 16 + half * 8 + lane / 4, r = t.row + row;
            int32_t token = t.token(r);
            int64_t place = (int64_t)(t.first + token) * p.heads + t.head(r, token);
            int64_t split_place = (int64_t)blockIdx.y * p.rows * p.heads + place;
            if (p.splits > 1 && r < t.rows && lane % 4 == 0) {
                float4 weight = make_float4(largest[m][half] * factor, sum, (float)parts, 0);
                ((float4 *)p.weights)[split_place] = weight;
            }
            if (parts > 1) {
                if (r >= t.rows) continue;
                float *sums = (float *)p.sums + split_place * head_size + lane % 4 * 2;
#pragma unroll
                for (int n = 0; n < chunks; n++)
                    *(float2 *)(sums + n * 8) = make_float2(o[m][n][half * 2], o[m][n][half * 2 + 1]);
            } else {
                float inverse = sum > 0 ? 1 / sum : 0;
                uint8_t *line = shared + row * pitch + lane % 4 * 4;
#pragma unroll
                for (int n = 0; n < padded / 8; n++)
                    *(uint32_t *)(line + n * 16) = pack2<element_t>(o[m][n][half * 2] * inverse, o[m][n][half * 2 + 1] * inverse);
            }
        }
    if (parts > 1) return;
    // Each warp writes its own rows, a chunk of 16 bytes a lane.
    __syncwarp();
    for (int index = lane; index < 16 * row_tiles * chunks; index += 32) {
        int row = warp_row + index / chunks, chunk = index % chunks;
        int32_t r = t.row + row;
        if (r >= t.rows) break;
        int32_t token = t.token(r);
        element_t *out = (element_t *)p.out + (int64_t)(t.first + token) * p.out_stride + t.head(r, token) * head_size + chunk * 8;
        *(uint4 *)out = *(const uint4 *)(shared + row * pitch + chunk * 16);
    }
}

constexpr int narrow_blocks = padded <= 80 ? 4 : padded <= 128 ? 3 : 2;
constexpr int wide_blocks = padded <= 64 ? 3 : 2;

// 64 rows a tile, for few rows and for long heads.
extern "C" __global__ void __launch_bounds__(threads, narrow_blocks) attention_narrow(const __grid_constant__ vlm_cuda_attention p) {
    attend<1>(p);
}

#if VLM_HEAD_SIZE <= 128
// 128 rows a tile: half the reads of shared memory for a product.
extern "C" __global__ void __launch_bounds__(threads, wide_blocks) attention_wide(const __grid_constant__ vlm_cuda_attention p) {
    attend<2>(p);
}
#endif

// Joins the splits of a row and head: one warp each. Grid: x = rows · heads / 4 up.
extern "C" __global__ void attention_combine(const __grid_constant__ vlm_cuda_attention p) {
    wait_for_previous();
    allow_next();
    int64_t places = (int64_t)p.rows * p.heads, place = (int64_t)blockIdx.x * 4 + (threadIdx.x >> 5);
    int lane = threadIdx.x & 31;
    if (place >= places) return;
    const float4 *weights = (const float4 *)p.weights + place;
    int parts = (int)weights[0].z;
    // Rows in one part are in the output already.
    if (parts <= 1) return;
    float most = negative_infinity;
    for (int i = 0; i < parts; i++) most = fmaxf(most, weights[i * places].x);
    float offset = most == negative_infinity ? 0 : most, total = 0;
    for (int i = 0; i < parts; i++) {
        float4 weight = weights[i * places];
        total += weight.y * exp2_fast(weight.x - offset);
    }
    float inverse = total > 0 ? 1 / total : 0;
    element_t *out = (element_t *)p.out + place / p.heads * p.out_stride + place % p.heads * head_size;
    for (int column = lane * 2; column < head_size; column += 64) {
        float2 sum = make_float2(0, 0);
        for (int i = 0; i < parts; i++) {
            float scale = exp2_fast(weights[i * places].x - offset);
            float2 part = *(const float2 *)((const float *)p.sums + (i * places + place) * head_size + column);
            sum.x += part.x * scale;
            sum.y += part.y * scale;
        }
        *(uint32_t *)(out + column) = pack2<element_t>(sum.x * inverse, sum.y * inverse);
    }
}
