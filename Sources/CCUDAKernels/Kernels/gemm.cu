// out[T, F] = epilogue(x[T, K] · W[F, K]^T) on Hopper's asynchronous tensor cores.
//
// Features are the rows of the tensor cores' tiles and tokens the columns: features come in multiples of the tile, while the
// number of tokens is anything, and a tile may have any multiple of 16 of them. A block is one warp that copies tiles of both
// operands into a ring of stages, and two groups of four warps that multiply: each its half of the features, or each every other
// tile, so that one finishes its results while the other multiplies. Blocks stay and walk over tiles, so that copies for the next
// tile run under the epilogue of this one. Where tiles are too few for the multiprocessors they are cut along K among the blocks of a
// cluster, whose sums are always added in the same order.
#include "gemm_tile.cuh"

#if __CUDA_ARCH_FEAT_SM90_ALL && VLM_ELEMENT != 0

// MARK: The warp that copies

__device__ __forceinline__ void copy_tiles(const vlm_cuda_gemm &p, layout_t at, int worker, int workers, int rank) {
    // One pass over the weights must not push out what every tile reads again.
    const uint64_t weight_hint = p.weights_once ? EVICT_FIRST : EVICT_NORMAL;
    const uint64_t x_hint = p.x_stays ? EVICT_LAST : EVICT_NORMAL;
    auto load_weight = [&](int stage, int k, const part_t &part) {
        load_tile(at.weight(stage), &p.weight, k * DEPTH, part.feature, at.full(stage), weight_hint);
    };
    auto load_x = [&](int stage, int k, const part_t &part) {
        if (PAIR) {
            const int half = TOKENS / 2;
            load_tile_multicast(at.x(stage) + rank * half * DEPTH * 2, &p.x, k * DEPTH, part.token + rank * half, at.full(stage), 3,
                                x_hint);
        } else {
            load_tile(at.x(stage), &p.x, k * DEPTH, part.token, at.full(stage), x_hint);
        }
    };

    walk_t walk(p, worker);
    part_t part;
    int stage = 0;
    uint32_t phase = 0;
    bool first = true;
    while (walk.next(p, workers, rank, part)) {
        int k = part.begin;
        if (first) {
            // Weights do not depend on the kernel before this one.
            int early = min(STAGES, part.end - part.begin);
            for (int i = 0; i < early; i++) {
                barrier_expect(at.full(i), STAGE_BYTES);
                load_weight(i, k + i, part);
            }
            wait_for_previous();
            for (int i = 0; i < early; i++) load_x(i, k + i, part);
            k += early;
            stage = early == STAGES ? 0 : early;
            phase = early == STAGES ? 1 : 0;
            first = false;
        }
        for (; k < part.end; k++) {
            barrier_wait(at.empty(stage), phase ^ 1);
            barrier_expect(at.full(stage), STAGE_BYTES);
            load_weight(stage, k, part);
            load_x(stage, k, part);
            if (++stage == STAGES) {
                stage = 0;
                phase ^= 1;
            }
        }
    }
    if (first) wait_for_previous();
}

// MARK: The warps that multiply

// Lets the group of four warps that waits at named barrier `id` go on.
__device__ __forceinline__ void signal_turn(int id) { asm volatile("bar.arrive %0, 256;" ::"r"(id) : "memory"); }

struct multiplier_t {
    const vlm_cuda_gemm &p;
    layout_t at;
    // Which group of four warps, thread of it, warp of it, lane.
    int half, thread, warp, lane;
    int stage = 0;
    uint32_t phase = 0;
    int turn = 0;
    uint32_t residual_phases = 0;
    float sums[HALVES][TOKENS / 2];
    // Of rows r and r + 8 of each 64 features.
    float bias[HALVES][2], scale[HALVES][2];

    __device__ multiplier_t(const vlm_cuda_gemm &p, layout_t at, int index)
        : p(p), at(at), half(index >> 7), thread(index & 127), warp(index >> 5 & 3), lane(index & 31) {}

    __device__ __forceinline__ bool leads() const { return thread == 0; }

    // Which 64 features of the tile are this group's first.
    __device__ __forceinline__ int row() const { return ALTERNATE ? 0 : half * HALVES; }
    // First feature of the 64 that this group multiplies together.
    __device__ __forceinline__ int feature(const part_t &part, int i) const { return part.feature + (row() + i) * 64; }
    // Passes over a part that the other group does.
    __device__ __forceinline__ void skip(const part_t &part) {
        int next = stage + part.end - part.begin;
        phase ^= next / STAGES & 1;
        stage = next % STAGES;
    }

    __device__ __forceinline__ void release(int stage) {
        if (PAIR) {
            if (lane < 2) barrier_arrive_in(at.empty(stage), lane);
        } else if (lane == 0) {
            barrier_arrive(at.empty(stage));
        }
    }

    // The compiler must not move uses of the sums across this.
    __device__ __forceinline__ void hold_sums() {
#pragma unroll
        for (int i = 0; i < HALVES; i++) {
#pragma unroll
            for (int j = 0; j < TOKENS / 2; j++) asm volatile("" : "+f"(sums[i][j])::"memory");
        }
    }

    // Groups that alternate take turns at the stages: a stage's barrier tells a phase only from the one before, so nobody may wait for a
    // phase further on. `others_wait`: the other group has a part after this one.
    __device__ __forceinline__ void multiply(const part_t &part, bool others_wait = false) {
        hold_sums();
        int before = stage;
        for (int k = part.begin; k < part.end; k++) {
            barrier_wait(at.full(stage), phase);
            uint64_t a = operand(at.weight(stage) + row() * 64 * DEPTH * 2), b = operand(at.x(stage));
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < DEPTH / 16; step++) {
#pragma unroll
                for (int i = 0; i < HALVES; i++) {
                    wgmma<TOKENS>::multiply(
                        sums[i], a + i * (64 * DEPTH * 2 >> 4) + step * 2, b + step * 2, k != part.begin || step != 0);
                }
            }
            wgmma_commit();
            if (ALTERNATE && others_wait && k == part.end - 1) signal_turn(4 + (half ^ 1));
            if (k != part.begin) {
                wgmma_wait<1>();
                release(before);
            }
            before = stage;
            if (++stage == STAGES) {
                stage = 0;
                phase ^= 1;
            }
        }
        wgmma_wait<0>();
        release(before);
        hold_sums();
    }

    __device__ __forceinline__ void load_bias(const part_t &part) {
#pragma unroll
        for (int i = 0; i < HALVES; i++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int f = feature(part, i) + warp * 16 + h * 8 + (lane >> 2);
                bias[i][h] = p.bias && f < p.features ? p.bias[f] : 0.0f;
                if (EPILOGUE == VLM_CUDA_GEMM_ACCUMULATE) scale[i][h] = p.scale && f < p.features ? p.scale[f] : 1.0f;
            }
        }
    }

    // Where block `rank` of the cluster left its sums of the 8 tokens `block` for this thread: the features r and r + 8, two tokens each.
    __device__ __forceinline__ uint32_t shared_sums(int i, int block) const {
        return at.stages + (((row() + i) * (TOKENS / 8) + block) * 128 + thread) * 16;
    }
    // Leaves the sums where the stages were, for the whole cluster.
    __device__ __forceinline__ void share_sums() {
        named_barrier(3, 256);
#pragma unroll
        for (int i = 0; i < HALVES; i++) {
#pragma unroll
            for (int j = 0; j < TOKENS / 8; j++) {
                const float *s = &sums[i][4 * j];
                store_shared(shared_sums(i, j), make_float4(s[0], s[1], s[2], s[3]));
            }
        }
    }
    // Adds the cluster's sums for this block's share of the tokens and finishes them, always in the same order.
    __device__ __forceinline__ void finish_share(const part_t &part, int rank) {
        const int ranks = cluster_blocks();
        const int first = TOKENS / 8 * rank / ranks, last = TOKENS / 8 * (rank + 1) / ranks;
#pragma unroll
        for (int i = 0; i < HALVES; i++) {
#pragma unroll 2
            for (int block = first; block < last; block++) {
                float v[4] = {bias[i][0], bias[i][0], bias[i][1], bias[i][1]};
                float4 parts[8];
#pragma unroll
                for (int r = 0; r < 8; r++) {
                    if (r < ranks) parts[r] = load_shared_of(shared_sums(i, block), r);
                }
                float4 total = parts[0];
#pragma unroll
                for (int r = 1; r < 8; r++) {
                    if (r < ranks) {
                        total.x += parts[r].x;
                        total.y += parts[r].y;
                        total.z += parts[r].z;
                        total.w += parts[r].w;
                    }
                }
                v[0] += total.x;
                v[1] += total.y;
                v[2] += total.z;
                v[3] += total.w;
                if (EPILOGUE == VLM_CUDA_GEMM_FLOAT32) {
                    store_floats(part, i, block, v);
                } else {
                    store_pairs(part, i, block, v);
                }
            }
        }
    }
    __device__ __forceinline__ void store_floats(const part_t &part, int i, int block, const float (&v)[4]) {
        float *out = static_cast<float *>(p.out);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            int t = part.token + block * 8 + (lane & 3) * 2 + (n & 1);
            int f = feature(part, i) + warp * 16 + (lane >> 2) + (n >> 1) * 8;
            if (t < p.tokens && f < p.out_features) out[t * p.out_stride + f] = v[n];
        }
    }
    // Eight tokens of sixteen features straight to memory: transposed, a thread has two neighbouring features of one token.
    __device__ __forceinline__ void store_pairs(const part_t &part, int i, int block, float (&v)[4]) {
        constexpr bool GATED = EPILOGUE == VLM_CUDA_GEMM_GATED;
        const int t = part.token + block * 8 + (lane >> 2);
        const int f = (GATED ? feature(part, i) / 2 + warp * 8 : feature(part, i) + warp * 16) + (lane & 3) * 2;
        const bool low = t < p.tokens && f < p.out_features, high = t < p.tokens && f + 8 < p.out_features;
        uint32_t *out = reinterpret_cast<uint32_t *>(static_cast<uint16_t *>(p.out) + t * p.out_stride + f);
        if (GATED) {
            uint32_t a = transposed(pack2<element_t>(apply(v[0]) * v[2], apply(v[1]) * v[3]));
            if (low) out[0] = a;
            return;
        }
        if (EPILOGUE == VLM_CUDA_GEMM_ACCUMULATE) {
            float2 x = unpack2<element_t>(transposed(low ? out[0] : 0)), y = unpack2<element_t>(transposed(high ? out[4] : 0));
            v[0] = fmaf(scale[i][0], v[0], x.x);
            v[1] = fmaf(scale[i][0], v[1], x.y);
            v[2] = fmaf(scale[i][1], v[2], y.x);
            v[3] = fmaf(scale[i][1], v[3], y.y);
        }
        if (EPILOGUE == VLM_CUDA_GEMM_ACTIVATE) {
#pragma unroll
            for (int n = 0; n < 4; n++) v[n] = apply(v[n]);
        }
        uint32_t a = transposed(pack2<element_t>(v[0], v[1])), b = transposed(pack2<element_t>(v[2], v[3]));
        if (low) out[0] = a;
        if (high) out[4] = b;
    }

    static constexpr int CHUNKS = TOKENS / CHUNK;

    __device__ __forceinline__ void load_residual(const part_t &part, int n) {
        uint32_t barrier = at.residual(half, n & 1);
        barrier_expect(barrier, BUFFER_BYTES);
        load_tile(at.buffer(half, n & 1), &p.out_map, feature(part, n / CHUNKS), part.token + n % CHUNKS * CHUNK, barrier,
                  EVICT_NORMAL);
    }
    // Starts the copies of what the first two chunks add to.
    __device__ __forceinline__ void start_residuals(const part_t &part) {
        if (EPILOGUE == VLM_CUDA_GEMM_ACCUMULATE && leads()) {
            wait_stores_read<0>();
            load_residual(part, 0);
            if (HALVES * CHUNKS > 1) load_residual(part, 1);
        }
    }

    // One 8-token block of chunk `c`, finished: features r and r + 8, two tokens each.
    __device__ __forceinline__ void finish(int i, int block, float (&v)[4]) {
#pragma unroll
        for (int n = 0; n < 4; n++) v[n] = sums[i][4 * block + n] + bias[i][n >> 1];
    }

    __device__ __forceinline__ void store_chunk(uint32_t buffer, int i, int c) {
        constexpr int BLOCKS = CHUNK / 8;
        const int row = lane & 7, matrix = lane >> 3;
        if constexpr (EPILOGUE == VLM_CUDA_GEMM_GATED) {
            uint32_t address = buffer + (matrix * 8 + row) * 64 + ((warp ^ (row >> 1)) << 4);
            auto gated = [&](int block) {
                float v[4];
                finish(i, block, v);
                return pack2<element_t>(apply(v[0]) * v[2], apply(v[1]) * v[3]);
            };
#pragma unroll
            for (int j = 0; j < BLOCKS; j += 4) {
                const int b = c * BLOCKS + j;
                if (j + 4 <= BLOCKS) {
                    store_transposed(address + j * 512, gated(b), gated(b + 1), gated(b + 2), gated(b + 3));
                } else {
                    if (BLOCKS - j >= 2) store_transposed(address + j * 512, gated(b), gated(b + 1));
                    if (BLOCKS - j == 1) store_transposed(address + j * 512, gated(b));
                    // The third of three: its row addresses come from the first eight lanes.
                    if (BLOCKS - j == 3) store_transposed(address + (j + 2) * 512, gated(b + 2));
                }
            }
        } else {
            uint32_t address = buffer + row * 128 + (((warp * 2 + (matrix & 1)) ^ row) << 4);
            uint32_t address4 = address + (matrix >> 1) * 1024;
            auto pair = [&](int j, uint32_t &low, uint32_t &high) {
                float v[4];
                finish(i, c * BLOCKS + j, v);
                if (EPILOGUE == VLM_CUDA_GEMM_ACCUMULATE) {
                    uint32_t a, b;
                    load_transposed(address + j * 1024, a, b);
                    float2 x = unpack2<element_t>(a), y = unpack2<element_t>(b);
                    v[0] = fmaf(scale[i][0], v[0], x.x);
                    v[1] = fmaf(scale[i][0], v[1], x.y);
                    v[2] = fmaf(scale[i][1], v[2], y.x);
                    v[3] = fmaf(scale[i][1], v[3], y.y);
                }
                if (EPILOGUE == VLM_CUDA_GEMM_ACTIVATE) {
#pragma unroll
                    for (int n = 0; n < 4; n++) v[n] = apply(v[n]);
                }
                low = pack2<element_t>(v[0], v[1]);
                high = pack2<element_t>(v[2], v[3]);
            };
#pragma unroll
            for (int j = 0; j < BLOCKS; j += 2) {
                uint32_t a, b, d, e;
                pair(j, a, b);
                if (j + 2 <= BLOCKS) {
                    pair(j + 1, d, e);
                    store_transposed(address4 + j * 1024, a, b, d, e);
                } else {
                    store_transposed(address + j * 1024, a, b);
                }
            }
        }
    }

    __device__ __forceinline__ void store(const part_t &part) {
        if constexpr (EPILOGUE == VLM_CUDA_GEMM_FLOAT32) {
#pragma unroll
            for (int i = 0; i < HALVES; i++) {
#pragma unroll
                for (int j = 0; j < TOKENS / 8; j++) {
                    float v[4];
                    finish(i, j, v);
                    store_floats(part, i, j, v);
                }
            }
        } else {
            constexpr bool ADDS = EPILOGUE == VLM_CUDA_GEMM_ACCUMULATE;
#pragma unroll
            for (int n = 0; n < HALVES * CHUNKS; n++) {
                const int which = ADDS ? n & 1 : turn;
                const uint32_t buffer = at.buffer(half, which);
                if (ADDS) {
                    barrier_wait(at.residual(half, which), residual_phases >> which & 1);
                    residual_phases ^= 1u << which;
                } else {
                    if (leads()) wait_stores_read<1>();
                    named_barrier(1 + half, 128);
                }
                store_chunk(buffer, n / CHUNKS, n % CHUNKS);
                fence_async_shared();
                named_barrier(1 + half, 128);
                if (leads()) {
                    int column = feature(part, n / CHUNKS);
                    store_tile(buffer, &p.out_map, EPILOGUE == VLM_CUDA_GEMM_GATED ? column / 2 : column,
                               part.token + n % CHUNKS * CHUNK);
                    if (ADDS && n + 2 < HALVES * CHUNKS) {
                        wait_stores_read<0>();
                        load_residual(part, n + 2);
                    }
                }
                turn ^= 1;
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(VLM_CUDA_GEMM_THREADS, 1) gemm(const __grid_constant__ vlm_cuda_gemm p) {
    extern __shared__ uint8_t shared[];
    const int group = threadIdx.x >> 7;
    const int rank = PAIR || SPLIT ? (int)cluster_rank() : 0;
    const int each = SPLIT ? (int)cluster_blocks() : BLOCKS_PER_WORKER;
    const int worker = (int)blockIdx.x / each, workers = (int)gridDim.x / each;
    layout_t at;
    at.stages = (shared_address(shared) + 1023) & ~1023u;
    at.buffers = at.stages + STAGES * STAGE_BYTES;
    at.barriers = at.buffers + 4 * BUFFER_BYTES;

    if (threadIdx.x == 0) {
        prefetch_map(&p.weight);
        prefetch_map(&p.x);
        if (BUFFER_BYTES > 0) prefetch_map(&p.out_map);
        for (int i = 0; i < STAGES; i++) {
            barrier_init(at.full(i), 1);
            barrier_init(at.empty(i), (ALTERNATE ? 4 : 8) * BLOCKS_PER_WORKER);
        }
        for (int i = 0; i < 4; i++) barrier_init(at.residual(i >> 1, i & 1), 1);
        barrier_init_fence();
    }
    if (PAIR) {
        cluster_sync();
    } else {
        __syncthreads();
    }
    allow_next();

    if (group == 0) {
        give_registers<40>();
        if (threadIdx.x == 0) copy_tiles(p, at, worker, workers, rank);
        __syncwarp();
        if (SPLIT) cluster_sync();
    } else {
        take_registers<232>();
        wait_for_previous();
        multiplier_t m(p, at, threadIdx.x - 128);
        walk_t walk(p, worker);
        part_t part;
        if constexpr (SPLIT) {
            const bool works = walk.next(p, workers, rank, part);
            if (works) {
                m.load_bias(part);
                m.multiply(part);
                m.share_sums();
            }
            cluster_sync();
            if (works) m.finish_share(part, rank);
        } else {
            int mine = m.half;
            while (walk.next(p, workers, rank, part)) {
                if (ALTERNATE && mine++ & 1) {
                    m.skip(part);
                    continue;
                }
                m.load_bias(part);
                m.start_residuals(part);
                if (ALTERNATE && mine > 1) named_barrier(4 + m.half, 256);
                m.multiply(part, walk.has_next());
                m.store(part);
            }
            // The memory of the block must last until the copy engine has read it.
            if (m.leads()) wait_stores_read<0>();
            __syncwarp();
        }
    }
    // No block may leave while another still signals its barriers, copies into its memory or reads its sums.
    if (PAIR || SPLIT) cluster_sync();
}

#endif
