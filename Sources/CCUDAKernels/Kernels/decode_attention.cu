// Attention of one new token of each sequence over its paged context, split over blocks so that few sequences fill the GPU.
//
// A context is cut into tiles of 16 positions, the tiles into contiguous parts, one for each block; all query heads of a key/value head
// are computed together, so keys and values are read once. Parts are merged in two levels: within a thread block cluster through
// distributed shared memory, where each block finishes a slice of the results, and between clusters through global memory, where the
// last block of a slice to arrive finishes it. How a context is cut depends on its length and on the launch's grid alone, and all
// sums have a fixed order: a sequence's result does not depend on its neighbours as long as the grid stays the same.
//
// 16-bit: the 16 rows of mma.m16n8k16 are query heads (unused ones are zeros: the tensor cores wait for memory anyway); each warp streams
// tiles of its own through shared memory. float32: all threads work on one tile.
#include "decode_merge.cuh"

// What blocks without work do. Whether there is none is the same for all blocks of a cluster.
__device__ __forceinline__ bool is_idle(const vlm_cuda_decode_attention &p, const Part &part) {
    if (part.context > 0 && (int)blockIdx.x / p.cluster * p.cluster < part.active) return false;
    wait_for_previous();
    if (part.context <= 0 && blockIdx.x == 0)
        for (int i = threadIdx.x; i < part.heads * quads; i += blockDim.x) store_out(p, part, i, make_float4(0, 0, 0, 0), 1);
    return true;
}

#if VLM_ELEMENT != 0

// MARK: - 16-bit types

constexpr int chunks = head_size / 8;
constexpr int padded_chunks = (chunks + 1) / 2 * 2;
// Tiles in shared memory per warp; all but one are on their way.
constexpr int stages = head_size <= 128 ? 3 : 2;
// Rows whose length is a multiple of 128 bytes are swizzled, others are padded to an odd number of chunks: either way the eight rows of
// an ldmatrix lie in different banks.
constexpr bool swizzled = chunks % 8 == 0;
constexpr int pitch = (swizzled ? chunks : padded_chunks + 1) * 16;
constexpr int tile_bytes = tile * pitch;

// Where chunk (16 bytes) `c` of row `r` lies in a tile.
__device__ __forceinline__ uint32_t place(int r, int c) { return r * pitch + (swizzled ? c ^ (r & 7) : c) * 16; }

// Begins to copy the keys and values of a tile; lane l knows the cache row of position l % 16.
__device__ __forceinline__ void load_tile(const vlm_cuda_decode_attention &p, int own_row, uint32_t target, int lane) {
#pragma unroll
    for (int i = 0; i < (tile * chunks + 31) / 32; i++) {
        int index = i * 32 + lane, r = index / chunks, c = index - r * chunks;
        int row = __shfl_sync(0xffffffffu, own_row, r & 15);
        if (r >= tile) continue;
        int64_t offset = (int64_t)max(row, 0) * head_size + c * 8;
        copy_async(target + place(r, c), (const element_t *)p.keys + offset, row >= 0);
        copy_async(target + tile_bytes + place(r, c), (const element_t *)p.values + offset, row >= 0);
    }
}

// Shared memory: [warps, stages, {keys, values}, tile, pitch], later [warps, heads, E] float32.
extern "C" __global__ void __launch_bounds__(most_warps * 32)
    decode_attention(const __grid_constant__ vlm_cuda_decode_attention p) {
    extern __shared__ __align__(128) uint8_t shared[];
    __shared__ MergeSpace space;
    allow_next();
    const Part part(p);
    if (is_idle(p, part)) return;

    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5, g = lane >> 2, t = lane & 3;
    const uint32_t tiles = shared_address(shared) + warp * (stages * 2 * tile_bytes);
    if (chunks != padded_chunks) {
        // Keys end in half a k-step of zeros.
        for (int i = lane; i < stages * tile; i += 32)
            *(uint4 *)(shared + (tiles - shared_address(shared)) + i / tile * (2 * tile_bytes) + place(i % tile, chunks)) =
                make_uint4(0, 0, 0, 0);
    }
    // The positions whose rows this lane knows: those of the next tile to copy.
    int ahead = part.begin + warp, position = ahead * tile + (lane & 15);
    int blocks[stages];
#pragma unroll
    for (int s = 0; s < stages; s++) blocks[s] = part.block(p, position + s * warps * tile);
#pragma unroll
    for (int s = 0; s < stages - 1; s++) {
        int there = position + s * warps * tile;
        if (there / tile < part.end) prefetch_row(lane < 16 ? p.keys : p.values, part.row(p, blocks[s], there));
    }
    wait_for_previous();

#pragma unroll
    for (int s = 0; s < stages - 1; s++) {
        if (ahead < part.end) load_tile(p, part.row(p, blocks[s], position), tiles + s * (2 * tile_bytes), lane);
        commit_copies();
        ahead += warps;
        position += warps * tile;
    }
    int block = blocks[stages - 1];

    // Queries as A fragments.
    uint32_t queries[padded_chunks / 2][4];
    {
        const element_t *q = (const element_t *)p.q + part.sequence * p.q_stride + (int64_t)part.first_head * head_size;
#pragma unroll
        for (int k = 0; k < padded_chunks / 2; k++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int head = g + (i & 1) * 8, e = k * 16 + (i >> 1) * 8 + 2 * t;
                queries[k][i] = head < part.heads && e < head_size ? *(const uint32_t *)(q + head * head_size + e) : 0;
            }
    }

    float out[chunks][4];
#pragma unroll
    for (int j = 0; j < chunks; j++) out[j][0] = out[j][1] = out[j][2] = out[j][3] = 0;
    // Of rows g and g + 8; the sums are of this thread's columns.
    float peak[2] = {-infinity, -infinity}, sum[2] = {0, 0};
    const int in_matrix = lane & 7, matrix = lane >> 3;

    int stage = 0, free = stages - 1;
    for (int current = part.begin + warp; current < part.end; current += warps) {
        wait_for_copies<stages - 2>();
        __syncwarp();
        if (ahead < part.end) load_tile(p, part.row(p, block, position), tiles + free * (2 * tile_bytes), lane);
        commit_copies();
        ahead += warps;
        position += warps * tile;
        block = part.block(p, position);

        const uint32_t keys = tiles + stage * (2 * tile_bytes), values = keys + tile_bytes;
        free = stage;
        stage = stage + 1 == stages ? 0 : stage + 1;

        // Scores of 16 heads and 2 x 8 positions; even and odd steps apart for shorter chains.
        float scores[2][2][4] = {};
#pragma unroll
        for (int k = 0; k < padded_chunks / 2; k++) {
            uint32_t b[4];
            load_matrices(b, keys + place(in_matrix + (matrix >> 1) * 8, 2 * k + (matrix & 1)));
            mma_16x8x16<element_t>(scores[k & 1][0], queries[k], b[0], b[1]);
            mma_16x8x16<element_t>(scores[k & 1][1], queries[k], b[2], b[3]);
        }
        float s[2][4], top[2] = {peak[0], peak[1]};
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[j][i] = part.sees(current * tile + j * 8 + 2 * t + (i & 1)) ? scaled(p, scores[0][j][i] + scores[1][j][i]) : -infinity;
                top[i >> 1] = fmaxf(top[i >> 1], s[j][i]);
            }
        float shrink[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            top[h] = fmaxf(top[h], __shfl_xor_sync(0xffffffffu, top[h], 1));
            top[h] = fmaxf(top[h], __shfl_xor_sync(0xffffffffu, top[h], 2));
            shrink[h] = weight_of(peak[h], top[h]);
            peak[h] = top[h];
        }
        // Peaks seldom rise after the first tiles.
        if (__any_sync(0xffffffffu, shrink[0] != 1 || shrink[1] != 1)) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                sum[h] *= shrink[h];
#pragma unroll
                for (int j = 0; j < chunks; j++) {
                    out[j][2 * h] *= shrink[h];
                    out[j][2 * h + 1] *= shrink[h];
                }
            }
        }
        uint32_t weights[4];
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float low = exp2_fast(s[j][2 * h] - peak[h]), high = exp2_fast(s[j][2 * h + 1] - peak[h]);
                sum[h] += low + high;
                weights[2 * j + h] = pack2<element_t>(low, high);
            }
#pragma unroll
        for (int j = 0; j < padded_chunks / 2; j++) {
            uint32_t b[4];
            load_matrices_transposed(b, values + place(in_matrix + (matrix & 1) * 8, 2 * j + (matrix >> 1)));
            mma_16x8x16<element_t>(out[2 * j], weights, b[0], b[1]);
            if (2 * j + 1 < chunks) mma_16x8x16<element_t>(out[(2 * j + 1) % chunks], weights, b[2], b[3]);
        }
    }
    wait_for_copies<0>();
    __syncthreads();

    float *results = (float *)shared;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 1);
        sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 2);
        int head = g + 8 * h;
        if (t == 0) {
            space.warp[warp].peak[head] = peak[h];
            space.warp[warp].sum[head] = sum[h];
        }
        if (head < part.heads) {
            float *to = results + (warp * part.heads + head) * head_size + 2 * t;
#pragma unroll
            for (int j = 0; j < chunks; j++) *(float2 *)(to + 8 * j) = make_float2(out[j][2 * h], out[j][2 * h + 1]);
        }
    }
    __syncthreads();
    merge(p, part, space, (float4 *)results, warps);
}

#else

// MARK: - float32

constexpr int threads = 128;
constexpr int columns = (head_size + threads - 1) / threads;
// Rows of keys are padded by a chunk, so that threads with neighbouring positions meet different banks.
constexpr int key_pitch = head_size + 4;
constexpr int stage_floats = tile * (key_pitch + head_size);

__device__ __forceinline__ void load_tile(const vlm_cuda_decode_attention &p, const Part &part, int current, uint32_t target) {
    for (int i = threadIdx.x; i < tile * quads; i += threads) {
        int r = i / quads, c = i - r * quads, position = current * tile + r;
        int row = part.row(p, part.block(p, position), position);
        int64_t offset = (int64_t)max(row, 0) * head_size + c * 4;
        copy_async(target + (r * key_pitch + c * 4) * 4, (const float *)p.keys + offset, row >= 0);
        copy_async(target + (tile * key_pitch + r * head_size + c * 4) * 4, (const float *)p.values + offset, row >= 0);
    }
}

// Shared memory: [2 stages, tile, {key_pitch, E}] and queries [16, E], float32.
extern "C" __global__ void __launch_bounds__(threads) decode_attention(const __grid_constant__ vlm_cuda_decode_attention p) {
    extern __shared__ __align__(128) float shared[];
    __shared__ MergeSpace space;
    __shared__ float scores[head_rows][tile];
    __shared__ float shrinks[head_rows];
    allow_next();
    const Part part(p);
    if (is_idle(p, part)) return;
    wait_for_previous();

    float *queries = shared + 2 * stage_floats;
    const float *q = (const float *)p.q + part.sequence * p.q_stride + (int64_t)part.first_head * head_size;
    for (int i = threadIdx.x; i < head_rows * head_size; i += threads) queries[i] = i < part.heads * head_size ? q[i] : 0;
    if (part.begin < part.end) load_tile(p, part, part.begin, shared_address(shared));
    commit_copies();

    float out[head_rows][columns] = {};
    if (threadIdx.x < head_rows) {
        space.warp[0].peak[threadIdx.x] = -infinity;
        space.warp[0].sum[threadIdx.x] = 0;
    }
    for (int current = part.begin; current < part.end; current++) {
        const float *keys = shared + ((current - part.begin) & 1) * stage_floats, *values = keys + tile * key_pitch;
        if (current + 1 < part.end) load_tile(p, part, current + 1, shared_address(shared) + ((current + 1 - part.begin) & 1) * stage_floats * 4);
        commit_copies();
        wait_for_copies<1>();
        __syncthreads();
        for (int i = threadIdx.x; i < part.heads * tile; i += threads) {
            int head = i / tile, r = i % tile, position = current * tile + r;
            const float4 *a = (const float4 *)(queries + head * head_size), *b = (const float4 *)(keys + r * key_pitch);
            float product = 0;
            for (int c = 0; c < quads; c++) {
                product += a[c].x * b[c].x;
                product += a[c].y * b[c].y;
                product += a[c].z * b[c].z;
                product += a[c].w * b[c].w;
            }
            scores[head][r] = part.sees(position) ? scaled(p, product) : -infinity;
        }
        __syncthreads();
        if (threadIdx.x < part.heads) {
            const int head = threadIdx.x;
            float before = space.warp[0].peak[head], peak = before;
            for (int r = 0; r < tile; r++) peak = fmaxf(peak, scores[head][r]);
            float shrink = weight_of(before, peak), sum = space.warp[0].sum[head] * shrink;
            for (int r = 0; r < tile; r++) {
                float w = exp2f(scores[head][r] - peak);
                scores[head][r] = w;
                sum += w;
            }
            space.warp[0].peak[head] = peak;
            space.warp[0].sum[head] = sum;
            shrinks[head] = shrink;
        }
        __syncthreads();
#pragma unroll
        for (int head = 0; head < head_rows; head++)
            if (head < part.heads) {
                float shrink = shrinks[head];
#pragma unroll
                for (int c = 0; c < columns; c++) {
                    int e = threadIdx.x + c * threads;
                    if (e >= head_size) continue;
                    float v = out[head][c] * shrink;
#pragma unroll
                    for (int r = 0; r < tile; r++) v += scores[head][r] * values[r * head_size + e];
                    out[head][c] = v;
                }
            }
        // The next iteration copies over this tile.
        __syncthreads();
    }
    wait_for_copies<0>();
    __syncthreads();
#pragma unroll
    for (int head = 0; head < head_rows; head++)
#pragma unroll
        for (int c = 0; c < columns; c++) {
            int e = threadIdx.x + c * threads;
            if (head < part.heads && e < head_size) shared[head * head_size + e] = out[head][c];
        }
    __syncthreads();
    merge(p, part, space, (float4 *)shared, 1);
}

#endif
