// The product of decoding: at most 16 rows of x, bound by reading the weights.
//
// Work is cut into units of 16 weight rows (a tile) by 1 KiB of each row. Units in order of tiles, and along the rows in each, are dealt to
// the blocks in equal contiguous shares. In each block one warp fetches units into a ring in shared memory, starting before the
// kernel before this one has finished (weights never change), and eight warps multiply, each an eighth of a unit's columns.
//
// A share is a number of whole tiles where there are enough of them. Otherwise a tile that lies in several shares is finished by the
// block that has its last unit. Blocks go through their shares backwards, so that block meets this tile last, and the others, which come
// before it in the grid and so have started, met it first (or have nothing else): waiting for them ends. Sums are in an order that
// depends on the weight's shape and the shares, never on the rows of x.
#pragma once

#include "skinny_block.cuh"

// The fetching warp: the share's units, last first, into the ring.
__device__ __forceinline__ void fetch_weights(const vlm_cuda_linear &p, const SkinnyBlock &b) {
    using namespace skinny_shape;
    constexpr int box_columns = box / element;
    int lane = threadIdx.x & 31, s = 0;
    uint32_t parity = 1;  // of a barrier that nobody has used: the first wait on each passes
    int t = (b.high - 1) / b.chunks, c = (b.high - 1) - t * b.chunks;
#if __CUDA_ARCH__ >= 900
    if (lane != 0) return;
    // The next kernel fetches weights too as soon as it starts, and what it fetches early is of use only when this one has no more to
    // fetch: the memory must not stand still from then until the next has its x.
    if (b.high - b.low <= p.remaining_at_next) allow_next();
    uint64_t policy;  // weights pass through the L2 cache without driving out what is read again
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#endif
    for (int u = b.high - 1; u >= b.low; u--) {
        uint32_t full = b.full + 8 * s, target = b.ring + s * stage;
#if __CUDA_ARCH__ >= 900
        wait_until_passed(b.empty + 8 * s, parity);
        bool both = c * chunk + box_columns < p.in_features;
        asm volatile("{ .reg .b64 state; mbarrier.arrive.expect_tx.shared.b64 state, [%0], %1; }" ::"r"(full),
                     "r"(both ? stage : stage / 2)
                     : "memory");
        load_box(p, target, c * chunk, t * tile, full, policy);
        if (both) load_box(p, target + stage / 2, c * chunk + box_columns, t * tile, full, policy);
        if (u - b.low == p.remaining_at_next) allow_next();
#else
        wait_until_passed(b.empty + 8 * s, parity);
        const char *source =
            (const char *)p.weight + ((int64_t)t * tile * p.weight_stride + (int64_t)c * chunk) * element;
        int rows = min(tile, p.weight_rows - t * tile), bytes = min(chunk, p.in_features - c * chunk) * element;
        for (int r = 0; r < rows; r++)
            for (int i = lane * 16; i < bytes; i += 512)
                copy_async(target + i / box * (stage / 2) + r * box + i % box, source + r * p.weight_stride * element + i);
        asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(full) : "memory");
#endif
        if (++s == b.stages) {
            s = 0;
            parity ^= 1;
        }
        if (--c < 0) {
            c = b.chunks - 1;
            t--;
        }
    }
}

__device__ __forceinline__ uint4 load_shared(uint32_t address) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address));
    return v;
}
__device__ __forceinline__ void store_shared(uint32_t address, uint4 v) {
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ float load_shared_float(uint32_t address) {
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address));
    return v;
}
__device__ __forceinline__ void store_shared_float(uint32_t address, float v) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(v) : "memory");
}

// The columns of 16 bytes of x.
__device__ __forceinline__ void unpack_granule(uint4 v, float (&f)[skinny_shape::granule]) {
#if VLM_ELEMENT == 0
    f[0] = __uint_as_float(v.x), f[1] = __uint_as_float(v.y), f[2] = __uint_as_float(v.z), f[3] = __uint_as_float(v.w);
#else
    uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 pair = unpack2<element_t>(words[i]);
        f[2 * i] = pair.x;
        f[2 * i + 1] = pair.y;
    }
#endif
}
__device__ __forceinline__ uint4 pack_granule(const float (&f)[skinny_shape::granule]) {
#if VLM_ELEMENT == 0
    return make_uint4(__float_as_uint(f[0]), __float_as_uint(f[1]), __float_as_uint(f[2]), __float_as_uint(f[3]));
#else
    return make_uint4(
        pack2<element_t>(f[0], f[1]), pack2<element_t>(f[2], f[3]), pack2<element_t>(f[4], f[5]), pack2<element_t>(f[6], f[7]));
#endif
}

// Copies x to shared memory, and there normalises it. A thread touches only its own columns until the end. `norm` is the shared address
// of the norm's weight, whose copy was begun before, by the same threads for the same columns.
__device__ __forceinline__ void stage_rows(const vlm_cuda_linear &p, const SkinnyBlock &b, uint32_t norm, uint32_t squares) {
    using namespace skinny_shape;
    const element_t *x = (const element_t *)p.x;
    int granules = p.in_features / granule, warp = threadIdx.x >> 5;
    for (int r = 0; r < p.rows; r++)
        for (int i = threadIdx.x; i < granules; i += threads)
            copy_async(b.x + r * p.staged_pitch + i * 16, x + r * p.x_stride + i * granule);
    commit_copies();
    wait_for_copies<0>();
    if (p.norm_weight) {
        // Four rows at a time, so that their chains of additions run side by side; each row's sum is in the same order always.
        for (int r0 = 0; r0 < p.rows; r0 += 4) {
            float sums[4] = {};
            for (int i = threadIdx.x; i < granules; i += threads)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    if (r0 + j >= p.rows) break;
                    float f[granule];
                    unpack_granule(load_shared(b.x + (r0 + j) * p.staged_pitch + i * 16), f);
#pragma unroll
                    for (int k = 0; k < granule; k++) sums[j] = fmaf(f[k], f[k], sums[j]);
                }
#pragma unroll
            for (int d = 16; d > 0; d >>= 1)
#pragma unroll
                for (int j = 0; j < 4; j++) sums[j] += __shfl_xor_sync(0xffffffffu, sums[j], d);
            if ((threadIdx.x & 31) == 0)
                for (int j = 0; j < min(4, p.rows - r0); j++)
                    store_shared_float(squares + ((r0 + j) * consumers + warp) * 4, sums[j]);
        }
        consumers_meet();
#pragma unroll 2
        for (int r = 0; r < p.rows; r++) {
            float sum = 0.0f;
#pragma unroll
            for (int w = 0; w < consumers; w++) sum += load_shared_float(squares + (r * consumers + w) * 4);
            float inverse = rsqrtf(sum / (float)p.in_features + p.epsilon);
            for (int i = threadIdx.x; i < granules; i += threads) {
                float f[granule];
                uint32_t address = b.x + r * p.staged_pitch + i * 16;
                unpack_granule(load_shared(address), f);
#pragma unroll
                for (int j = 0; j < granule; j += 4) {
                    uint4 w = load_shared(norm + (i * granule + j) * 4);
                    f[j] *= inverse * __uint_as_float(w.x);
                    f[j + 1] *= inverse * __uint_as_float(w.y);
                    f[j + 2] *= inverse * __uint_as_float(w.z);
                    f[j + 3] *= inverse * __uint_as_float(w.w);
                }
                store_shared(address, pack_granule(f));
            }
        }
    }
    consumers_meet();
}

// What the lanes of a warp multiply with a unit: x at the same columns as their weights, and the sums so far. A lane 4 g + q has the
// columns q · granule ... of each group, of weight rows g and g + 8.
template <int N>
struct Products {
#if VLM_ELEMENT == 0
    float sums[2][N];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int n = 0; n < N; n++) sums[0][n] = sums[1][n] = 0.0f;
    }
#else
    float sums[2][N / 8][4];  // two chains, so that one need not wait for the other

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[h][n][i] = 0.0f;
    }
#endif
};

__device__ __forceinline__ uint4 load_x(const vlm_cuda_linear &p, const SkinnyBlock &b, int row, int k) {
    if (row >= p.rows || k >= p.in_features) return make_uint4(0, 0, 0, 0);
    if (p.staged) return load_shared(b.x + row * p.staged_pitch + k * skinny_shape::element);
    return *(const uint4 *)((const element_t *)p.x + row * p.x_stride + k);
}

#if VLM_ELEMENT != 0
// x of a unit in registers: the second operand of the matrix instructions, loaded a unit ahead.
template <int N>
struct Inputs {
    uint4 v[2][N / 8];

    __device__ __forceinline__ void load(const vlm_cuda_linear &p, const SkinnyBlock &b, int k) {
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int n = 0; n < N / 8; n++)
                v[j][n] = load_x(p, b, n * 8 + ((threadIdx.x & 31) >> 2), k + j * skinny_shape::group);
    }
};

// The k of a matrix instruction may be in any order as long as both operands agree: a lane's 16 bytes serve two instructions.
template <int N>
__device__ __forceinline__ void multiply(Products<N> &products, const uint4 (&a)[2][2], const Inputs<N> &x) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
        uint32_t first[4] = {a[j][0].x, a[j][1].x, a[j][0].y, a[j][1].y};
        uint32_t second[4] = {a[j][0].z, a[j][1].z, a[j][0].w, a[j][1].w};
#pragma unroll
        for (int n = 0; n < N / 8; n++) {
            mma_16x8x16<element_t>(products.sums[0][n], first, x.v[j][n].x, x.v[j][n].y);
            mma_16x8x16<element_t>(products.sums[1][n], second, x.v[j][n].z, x.v[j][n].w);
        }
    }
}
#endif

// Writes a warp's sums of a tile to shared memory, `[token][weight row]`.
template <int N>
__device__ __forceinline__ void write_results(const vlm_cuda_linear &p, Products<N> &products, uint32_t target) {
    using namespace skinny_shape;
    int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
#if VLM_ELEMENT == 0
#pragma unroll
    for (int n = 0; n < N; n++) {
        if (n >= p.rows) break;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float v = products.sums[h][n];
            v += __shfl_xor_sync(0xffffffffu, v, 1);
            v += __shfl_xor_sync(0xffffffffu, v, 2);
            if (q == 0) store_shared_float(target + (n * result_pitch + g + 8 * h) * 4, v);
        }
    }
#else
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int token = n * 8 + 2 * q + (i & 1);
            if (token < p.rows)
                store_shared_float(
                    target + (token * result_pitch + g + 8 * (i >> 1)) * 4, products.sums[0][n][i] + products.sums[1][n][i]);
        }
#endif
}

// The thread's element of a tile: token `e / 16`, weight row `e % 16`; and what its epilogue needs, loaded while weights are on their way.
struct TileElement {
    bool active;
    int e, w;
    float bias, up_bias, scale, previous;

    __device__ __forceinline__ void begin(const vlm_cuda_linear &p, int t) {
        e = threadIdx.x;
        w = t * skinny_shape::tile + (e & 15);
        bool gated = p.epilogue == VLM_CUDA_GATED;
        active = e < p.rows * 16 && (gated ? (e & 8) == 0 : w < p.out_columns);
        bias = up_bias = previous = 0.0f;
        scale = 1.0f;
        if (!active) return;
        if (p.bias) {
            bias = p.bias[w];
            if (gated) up_bias = p.bias[w + 8];
        }
        if (p.epilogue == VLM_CUDA_SCALED_ACCUMULATE) scale = p.scale[w];
        if (p.epilogue == VLM_CUDA_ACCUMULATE || p.epilogue == VLM_CUDA_SCALED_ACCUMULATE) previous = load_out(p, e >> 4, w);
    }

    __device__ __forceinline__ void finish(const vlm_cuda_linear &p, float v, float up) const {
        if (p.epilogue == VLM_CUDA_GATED) {
            int column = (w >> 4) * 8 + (w & 7);
            if (column < p.out_columns) store_out(p, e >> 4, column, activate(p.activation, v + bias) * (up + up_bias));
        } else {
            store_out(p, e >> 4, w, finished(p, v, bias, scale, previous));
        }
    }
};

// What the blocks before this one have of the tile it finishes, for this thread's element.
struct OtherShares {
    bool gathered = false;
    float sum = 0.0f, up = 0.0f;

    // Reads the others' sums in the order of the blocks; gives up when one is not there yet and `waits` is false.
    __device__ __forceinline__ void gather(const vlm_cuda_linear &p, int first, const TileElement &mine, bool waits) {
        if (gathered) return;
        for (int other = first; other < (int)blockIdx.x; other++) {
            uint32_t tries = 0;
            while (!load_flag(p.flags + other)) {
                if (!waits) return;
                count_wait(tries);
            }
        }
        gathered = true;
        if (!mine.active) return;
        for (int other = first; other < (int)blockIdx.x; other++) {
            sum += p.partials[other * 256 + mine.e];
            if (p.epilogue == VLM_CUDA_GATED) up += p.partials[other * 256 + mine.e + 8];
        }
    }
};

// A warp of the eight that multiply.
template <int N>
__device__ __forceinline__ void multiply_units(const vlm_cuda_linear &p, const SkinnyBlock &b) {
    using namespace skinny_shape;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
    int column = warp * span + q * granule;  // of the lane in a unit
    bool gated = p.epilogue == VLM_CUDA_GATED;
    int t = (b.high - 1) / b.chunks, c = (b.high - 1) - t * b.chunks;
    int s = 0, buffer = 0;
    uint32_t parity = 0;
    Products<N> products;
    products.clear();
    TileElement mine;
    mine.begin(p, t);
    OtherShares others;
#if VLM_ELEMENT != 0
    Inputs<N> x;
    x.load(p, b, c * chunk + column);
#endif
    for (int u = b.high - 1; u >= b.low; u--) {
        int k = c * chunk + column;
#if VLM_ELEMENT != 0
        Inputs<N> next = x;
        if (u > b.low) next.load(p, b, (c == 0 ? b.chunks - 1 : c - 1) * chunk + column);
#endif
        wait_until_passed(b.full + 8 * s, parity);
        uint4 a[2][2];
        uint32_t source = b.ring + s * stage + (warp >> 2) * (stage / 2) + g * box + (warp & 3) * (span * element) + q * 16;
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                a[j][h] = load_shared(source + h * 8 * box + j * 64);
                // Past the end of a row the ring holds old bytes, which could be infinities.
                if (k + j * group >= p.in_features) a[j][h] = make_uint4(0, 0, 0, 0);
            }
        __syncwarp();
        if (lane == 0) barrier_arrive(b.empty + 8 * s);
        if (++s == b.stages) {
            s = 0;
            parity ^= 1;
        }
#if VLM_ELEMENT == 0
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float w0[granule], w1[granule];
            unpack_granule(a[j][0], w0);
            unpack_granule(a[j][1], w1);
#pragma unroll
            for (int n = 0; n < N; n++) {
                if (n >= p.rows) break;
                float f[granule];
                unpack_granule(load_x(p, b, n, k + j * group), f);
#pragma unroll
                for (int i = 0; i < granule; i++) {
                    products.sums[0][n] = fmaf(w0[i], f[i], products.sums[0][n]);
                    products.sums[1][n] = fmaf(w1[i], f[i], products.sums[1][n]);
                }
            }
        }
#else
        multiply<N>(products, a, x);
        x = next;
#endif
        if (c > 0 && u > b.low) {
            c--;
            continue;
        }

        // The share's part of the tile is complete: add up the warps, in order.
        uint32_t results = b.results + buffer * consumers * p.rows * result_pitch * 4;
        write_results<N>(p, products, results + warp * p.rows * result_pitch * 4);
        buffer ^= 1;
        consumers_meet();
        bool finishes = (t + 1) * b.chunks <= b.high, shared = t * b.chunks < b.low;
        float v = 0.0f, up = 0.0f;
        int e = mine.e;
        if (e < p.rows * 16) {
            uint32_t source = results + ((e >> 4) * result_pitch + (e & 15)) * 4;
#pragma unroll
            for (int w = 0; w < consumers; w++) {
                v += load_shared_float(source + w * p.rows * result_pitch * 4);
                if (gated && !(e & 8)) up += load_shared_float(source + (w * p.rows * result_pitch + 8) * 4);
            }
        }
        if (!finishes) {
            if (e < p.rows * 16) p.partials[blockIdx.x * 256 + e] = v;
            __threadfence();
            consumers_meet();
            if (threadIdx.x == 0) store_flag(p.flags + blockIdx.x, 1);
        } else {
            if (shared) {
                others.gather(p, b.owner(p, t * b.chunks), mine, true);
                v += others.sum;
                up += others.up;
            }
            if (mine.active) mine.finish(p, v, up);
            if (shared) {
                // Everybody has read; the flags are this block's to clear, and the next kernel's to set.
                consumers_meet();
                int first = b.owner(p, t * b.chunks);
                for (int other = first + threadIdx.x; other < (int)blockIdx.x; other += threads) p.flags[other] = 0;
            }
        }
        if (u > b.low) {
            products.clear();
            c = b.chunks - 1;
            t--;
            mine.begin(p, t);
            // Most often the others are long done, and their sums can come while weights are on their way.
            if (t * b.chunks < b.low) others.gather(p, b.owner(p, t * b.chunks), mine, false);
        }
    }
}

template <int N>
__device__ __forceinline__ void skinny(const vlm_cuda_linear &p) {
    using namespace skinny_shape;
    extern __shared__ __align__(128) uint8_t shared[];
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x == threads) asm volatile("prefetch.tensormap [%0];" ::"l"(&p.weight_map) : "memory");
#endif
    SkinnyBlock b(p, shared_address(shared));
    if (threadIdx.x < b.stages) {
#if __CUDA_ARCH__ >= 900
        barrier_init(b.full + 8 * threadIdx.x, 1);
#else
        barrier_init(b.full + 8 * threadIdx.x, 32);
#endif
        barrier_init(b.empty + 8 * threadIdx.x, consumers);
#if __CUDA_ARCH__ >= 900
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
    }
    __syncthreads();
    if (threadIdx.x >= threads) {
        fetch_weights(p, b);
        return;
    }
    uint32_t squares = b.full + 16 * VLM_CUDA_SKINNY_MAX_STAGES;
    uint32_t norm = b.x + p.rows * p.staged_pitch;
    if (p.norm_weight) {
        for (int i = threadIdx.x; i < p.in_features / granule; i += threads)
#pragma unroll
            for (int j = 0; j < granule; j += 4)
                copy_async(norm + (i * granule + j) * 4, p.norm_weight + i * granule + j);
    }
    wait_for_previous();
    if (p.staged) stage_rows(p, b, norm, squares);
    if (b.low < b.high) multiply_units<N>(p, b);
}
