// Attention on Hopper's asynchronous tensor cores, after FlashAttention-3 (Shah et al., arXiv 2407.08608).
//
// A block is one warpgroup that copies and GROUPS warpgroups that compute, 64 rows each, on one tile after another. Keys and values
// come in steps of KEYS through rings of STAGES. Each computing warpgroup has the product of the step before with the values
// running while it takes the exponentials of this step, and warpgroups take turns at issuing products, so that one's exponentials
// run under another's products. See hopper.cuh for VLM_WATCHDOG.
#include "hopper_softmax.cuh"

#if __CUDA_ARCH_FEAT_SM90_ALL && VLM_ELEMENT != 0

__device__ __forceinline__ void load_pages(
    const vlm_cuda_attention_hopper &p, const vlm_cuda_tensor_map &map, uint32_t to, int row, int page, bool mine, int bytes,
    uint32_t full) {
    int lane = threadIdx.x & 31;
    if (lane == 0) barrier_expect(full, bytes);
    __syncwarp();
    if (mine) {
#pragma unroll
        for (int box = 0; box < BOXES; box++)
            load_box(to + box * KEY_BOX + lane * p.page_rows * 128, &map, box * 64, row, page, full);
    }
}

// One warp copies: a lane per page.
__device__ __forceinline__ void produce(
    const vlm_cuda_attention_hopper &p, Board &board, uint32_t queries, uint32_t keys, uint32_t values) {
    int lane = threadIdx.x & 31, total = p.tiles * p.kv_heads;
    uint32_t query_full = shared_address(&board.query_full), query_empty = shared_address(&board.query_empty);
    uint32_t key_full = shared_address(board.key_full), key_empty = shared_address(board.key_empty);
    uint32_t value_full = shared_address(board.value_full), value_empty = shared_address(board.value_empty);
    Ring key = {0}, value = {0};
    int count = 0;
    Tile tile;
    if (p.known && item_of(0) < total) tile = find_tile(p, item_of(0));
    wait_for_previous();
    for (int round = 0, item; (item = item_of(round)) < total || (round + 1) * gridDim.x < total; round++) {
        if (item >= total) continue;
        if (round > 0 || !p.known) tile = find_tile(p, item);
        if (tile.tokens == 0) continue;
        int top = (tile.last - 1) / KEYS, bottom = tile.low / KEYS;
        const int32_t *table = p.tables ? p.tables + tile.sequence * p.table_stride : nullptr;
        int old_row = 0, old_page = 0, old_bytes = 0;
        bool old_mine = false;
        for (int step = top; step >= bottom - 1; step--) {
            // This lane's page of the step, and the bytes of all lanes'.
            int row = 0, page = tile.head, bytes = STAGE;
            bool mine = lane == 0;
            if (step >= bottom) {
                if (table) {
                    int position = step * KEYS + lane * p.page_rows;
                    int left = min(KEYS, tile.last - step * KEYS);
                    int pages = (left + p.page_rows - 1) / p.page_rows;
                    bytes = pages * p.page_rows * 128 * BOXES;
                    mine = lane < pages;
                    row = position & ((1 << p.block_shift) - 1);
                    if (mine) page = table[position >> p.block_shift] * p.kv_heads + tile.head;
                } else {
                    row = tile.begin + step * KEYS;
                }
                barrier_wait(key_empty + key.stage() * 8, key.parity() ^ 1);
                load_pages(p, p.k, keys + key.stage() * STAGE, row, page, mine, bytes, key_full + key.stage() * 8);
                key.steps++;
                if (step == top) {
                    // The queries come second: their place is free later than that of the first keys.
                    barrier_wait(query_empty, (count & 1) ^ 1);
                    if (lane == 0) {
                        board.tiles[count & 1] = tile;
                        barrier_expect(query_full, BOXES * p.last_tokens * p.group * 128);
#pragma unroll
                        for (int box = 0; box < BOXES; box++)
                            load_box(queries + box * QUERY_BOX, &p.q, box * 64, tile.head * p.group, tile.row, query_full);
                    }
                    count++;
                }
            }
            if (step < top) {
                barrier_wait(value_empty + value.stage() * 8, value.parity() ^ 1);
                uint32_t full = value_full + value.stage() * 8;
                if (step == top - 1) {
                    int entry = (count & 1) ^ 1;
                    int valid = tile.last - top * KEYS;
                    if (lane == 0) board.tails[entry] = {value.stage(), valid, valid <= NARROW && top > bottom ? NARROW : KEYS};
                    full = shared_address(&board.tail_full[entry]);
                }
                load_pages(p, p.v, values + value.stage() * STAGE, old_row, old_page, old_mine, old_bytes, full);
                value.steps++;
            }
            old_row = row, old_page = page, old_mine = mine, old_bytes = bytes;
        }
    }
    barrier_wait(query_empty, (count & 1) ^ 1);
    if (lane == 0) {
        board.tiles[count & 1].tokens = 0;
        barrier_arrive(query_full);
        board.tails[count & 1].stage = -1;
        barrier_arrive(shared_address(&board.tail_full[count & 1]));
    }
}

// Another warp clears the rows after a sequence's last position, of each tile's first values: they hold nothing or other sequences'
// values, perhaps not finite, and 0 · infinity is not zero.
__device__ __forceinline__ void clear_values(Board &board, uint32_t values) {
    int lane = threadIdx.x & 31;
    for (int count = 0;; count++) {
        barrier_wait(shared_address(&board.tail_full[count & 1]), count >> 1 & 1);
        Tail tail = board.tails[count & 1];
        if (tail.stage < 0) break;
        uint32_t rows = values + tail.stage * STAGE + tail.valid * 128;
#pragma unroll
        for (int box = 0; box < BOXES; box++) {
            for (int i = lane; i < (tail.end - tail.valid) * 8; i += 32)
                asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(rows + box * KEY_BOX + i * 16), "r"(0) : "memory");
        }
        fence_async_shared();
        __syncwarp();
        if (lane == 0) barrier_arrive(shared_address(&board.value_full[tail.stage]));
    }
}

template <int COUNT>
__device__ __forceinline__ void round_weights(uint32_t (&w)[COUNT / 2], const float (&s)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT / 2; i++) w[i] = pack2<element_t>(s[2 * i], s[2 * i + 1]);
}

template <int COUNT>
__device__ __forceinline__ void begin_scores(float (&s)[COUNT], uint64_t query, uint64_t key) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        int box = step >> 2, at = (step & 3) * 2;
        wgmma<COUNT * 2>::multiply(s, query + box * (QUERY_BOX >> 4) + at, key + box * (KEY_BOX >> 4) + at, step > 0);
    }
    wgmma_commit();
}

__device__ __forceinline__ uint64_t value_operand(uint32_t values, int stage) {
    return operand_across(values + stage * STAGE, SUM_COLUMN ? (STAGES - stage) * STAGE : KEY_BOX);
}

template <int COUNT>
__device__ __forceinline__ void begin_values(float (&o)[WIDTH / 2], const uint32_t (&w)[COUNT], uint64_t value) {
#pragma unroll
    for (int step = 0; step < COUNT / 4; step++) wgmma_across<WIDTH>::multiply(o, w + 4 * step, value + step * (2048 >> 4));
    wgmma_commit();
}

// Lane l of four has column l of a 4 x 4 matrix in x[0...3] and gets row l.
__device__ __forceinline__ void transpose4(uint32_t *x, int lane) {
#pragma unroll
    for (int d = 1; d < 4; d <<= 1) {
        bool upper = lane & d;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (i & d) continue;
            uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[i + d], d);
            if (upper) x[i] = got;
            else x[i + d] = got;
        }
    }
}

// Normalised rows to `out`. Four lanes that share a row exchange pairs, so that each stores 16 bytes.
__device__ __forceinline__ void store_rows(
    const vlm_cuda_attention_hopper &p, const Tile &tile, float (&o)[WIDTH / 2], const Rows &rows, int row) {
    int lane = threadIdx.x & 3, count = tile.tokens * p.group;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float sum = SUM_COLUMN ? o[HEAD / 2 + 2 * r] : rows.sum[r];
        if (!SUM_COLUMN) {
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        }
        float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
        int at = row + 8 * r, token = at / p.group, head = at - token * p.group;
        element_t *out = (element_t *)p.out + (tile.row + token) * p.out_stride + (tile.head * p.group + head) * HEAD;
        bool live = at < count;
        uint32_t pairs[HEAD / 8];
#pragma unroll
        for (int j = 0; j < HEAD / 8; j++) pairs[j] = pack2<element_t>(o[4 * j + 2 * r] * inverse, o[4 * j + 2 * r + 1] * inverse);
        // Lane l of the four has pair l of every 8 columns; of each 4 such columns it comes to have all pairs of the l-th.
#pragma unroll
        for (int j = 0; j + 4 <= HEAD / 8; j += 4) {
            transpose4(pairs + j, lane);
            if (live) *(uint4 *)(out + 8 * (j + lane)) = make_uint4(pairs[j], pairs[j + 1], pairs[j + 2], pairs[j + 3]);
        }
#pragma unroll
        for (int j = HEAD / 32 * 4; j < HEAD / 8; j++) {
            if (live) *(uint32_t *)(out + 8 * j + 2 * lane) = pairs[j];
        }
    }
}

__device__ __forceinline__ void consume(
    const vlm_cuda_attention_hopper &p, Board &board, uint32_t queries, uint32_t keys, uint32_t values) {
    int lane = threadIdx.x & 31;
    int group = uniform((threadIdx.x >> 7) - 1);
    uint32_t query_full = shared_address(&board.query_full), query_empty = shared_address(&board.query_empty);
    uint32_t key_full = shared_address(board.key_full), key_empty = shared_address(board.key_empty);
    uint32_t value_full = shared_address(board.value_full), value_empty = shared_address(board.value_empty);
    uint64_t query = operand(queries + group * 64 * 128);
    int row = group * 64 + (threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
    Ring ring = {0};  // of the next keys; their values lie at the same place of their ring
    float s[KEYS / 2], o[WIDTH / 2];
    uint32_t w[KEYS / 4];
    for (int count = 0;; count++) {
        barrier_wait(query_full, count & 1);
        const Tile &tile = board.tiles[count & 1];
        int tokens = uniform(tile.tokens), first = uniform(tile.first), last = uniform(tile.last);
        if (tokens == 0) break;
        int live = (tokens * p.group + 63) >> 6, top = (last - 1) / KEYS, bottom = uniform(tile.low) / KEYS;
        int valid = last - top * KEYS;  // keys of the last step
        if (group >= live) {
            // No rows: keep the barriers' count.
            if (lane == 0) barrier_arrive(query_empty);
            for (int step = top; step >= bottom; step--) {
                barrier_wait(key_full + ring.stage() * 8, ring.parity());
                if (lane == 0) barrier_arrive(key_empty + ring.stage() * 8);
                barrier_wait(value_full + ring.stage() * 8, ring.parity());
                if (lane == 0) barrier_arrive(value_empty + ring.stage() * 8);
                ring.steps++;
            }
            continue;
        }
        Rows rows;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int token = min((row + 8 * r) / p.group, tokens - 1);
            rows.limit[r] = p.contexts ? first + token : last;
            rows.top[r] = NOTHING;
            rows.sum[r] = 0.0f;
        }
        // A warp without rows computes nothing but its part of the products. The condition also keeps the assembler from moving the
        // exponentials behind the wait for the products that they are to run beside.
        bool busy = uniform(row) < tokens * p.group;
#pragma unroll
        for (int i = 0; i < WIDTH / 2; i++) o[i] = 0.0f;
        // Positions from last - window to first are seen by all rows.
        auto seen_by_all = [&](int step) { return (step + 1) * KEYS <= first && step * KEYS >= last - p.window; };
        barrier_wait(key_full + ring.stage() * 8, ring.parity());
        if (valid <= NARROW && top > bottom) {
            // The few last keys go with the step before.
            float few[NARROW / 2], tops[2] = {NOTHING, NOTHING};
            uint32_t few_weights[NARROW / 4];
            Ring next = ring.after();
            barrier_wait(key_full + next.stage() * 8, next.parity());
            wgmma_fence();
            begin_scores(few, query, operand(keys + ring.stage() * STAGE));
            begin_scores(s, query, operand(keys + next.stage() * STAGE));
            wgmma_wait<0>();
            pin(few);
            pin(s);
            if (lane == 0) {
                barrier_arrive(key_empty + ring.stage() * 8);
                barrier_arrive(key_empty + next.stage() * 8);
                if (top - 1 == bottom) barrier_arrive(query_empty);
            }
            mask(few, top * KEYS, rows, p.window);
            if (!seen_by_all(top - 1)) mask(s, (top - 1) * KEYS, rows, p.window);
            find_tops(few, tops);
            find_tops(s, tops);
            raise(rows, tops, p.scale_log2);
            weigh(few, rows, p.scale_log2);
            weigh(s, rows, p.scale_log2);
            round_weights(few_weights, few);
            round_weights(w, s);
            barrier_wait(value_full + ring.stage() * 8, ring.parity());
            wgmma_fence();
            begin_values(o, few_weights, value_operand(values, ring.stage()));
            wgmma_wait<0>();
            pin(o);
            if (lane == 0) barrier_arrive(value_empty + ring.stage() * 8);
            ring.steps++;
            top--;
        } else {
            wgmma_fence();
            begin_scores(s, query, operand(keys + ring.stage() * STAGE));
            wgmma_wait<0>();
            pin(s);
            if (lane == 0) {
                barrier_arrive(key_empty + ring.stage() * 8);
                if (top == bottom) barrier_arrive(query_empty);
            }
            mask(s, top * KEYS, rows, p.window);
            soften(s, rows, p.scale_log2);
            round_weights(w, s);
        }
        ring.steps++;
        for (int step = top - 1; step >= bottom; step--) {
            barrier_wait(key_full + ring.stage() * 8, ring.parity());
            // Its turn to issue products.
            if (live > 1 && (group > 0 || step < top - 1)) named_barrier(1 + group, 256);
            wgmma_fence();
            begin_scores(s, query, operand(keys + ring.stage() * STAGE));
            barrier_wait(value_full + ring.before().stage() * 8, ring.before().parity());
            wgmma_fence();
            begin_values(o, w, value_operand(values, ring.before().stage()));
            if (live > 1 && (group + 1 < live || step > bottom)) named_arrive(1 + (group + 1 == live ? 0 : group + 1), 256);
            wgmma_wait<1>();
            pin(s);
            if (lane == 0) {
                barrier_arrive(key_empty + ring.stage() * 8);
                if (step == bottom) barrier_arrive(query_empty);
            }
            bool raised = false;
            if (busy) {
                if (!seen_by_all(step)) mask(s, step * KEYS, rows, p.window);
                raised = soften(s, rows, p.scale_log2);
            }
            wgmma_wait<0>();
            pin(o);
            if (lane == 0) barrier_arrive(value_empty + ring.before().stage() * 8);
            if (raised) {
#pragma unroll
                for (int i = 0; i < WIDTH / 2; i++) o[i] *= rows.factor[i >> 1 & 1];
            }
            round_weights(w, s);
            ring.steps++;
        }
        barrier_wait(value_full + ring.before().stage() * 8, ring.before().parity());
        wgmma_fence();
        begin_values(o, w, value_operand(values, ring.before().stage()));
        wgmma_wait<0>();
        pin(o);
        if (lane == 0) barrier_arrive(value_empty + ring.before().stage() * 8);
        store_rows(p, tile, o, rows, row);
    }
}

#endif

extern "C" __global__ void __launch_bounds__(WORKERS + 128, 1)
    hopper_attention(const __grid_constant__ vlm_cuda_attention_hopper p) {
#if __CUDA_ARCH_FEAT_SM90_ALL && VLM_ELEMENT != 0
    extern __shared__ uint8_t dynamic[];
    __shared__ Board board;
    uint32_t base = (shared_address(dynamic) + 1023) & ~1023u;
    uint32_t queries = base, keys = queries + BOXES * QUERY_BOX, values = keys + STAGES * STAGE;
    if (threadIdx.x == 0) {
        prefetch_map(&p.q);
        prefetch_map(&p.k);
        prefetch_map(&p.v);
        barrier_init(shared_address(&board.query_full), 1);
        barrier_init(shared_address(&board.query_empty), 4 * GROUPS);
        barrier_init(shared_address(&board.tail_full[0]), 1);
        barrier_init(shared_address(&board.tail_full[1]), 1);
        for (int i = 0; i < STAGES; i++) {
            barrier_init(shared_address(&board.key_full[i]), 1);
            barrier_init(shared_address(&board.key_empty[i]), 4 * GROUPS);
            barrier_init(shared_address(&board.value_full[i]), 1);
            barrier_init(shared_address(&board.value_empty[i]), 4 * GROUPS);
        }
        barrier_init_fence();
    }
    if (SUM_COLUMN) {
        uint32_t ones = pack2<element_t>(1.0f, 1.0f);
        for (int i = threadIdx.x; i < KEY_BOX / 16; i += WORKERS + 128)
            asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(values + STAGES * STAGE + i * 16), "r"(ones) : "memory");
        fence_async_shared();
    }
    allow_next();
    __syncthreads();
    if (uniform(threadIdx.x >> 7) == 0) {
        give_registers<GROUPS == 2 ? 40 : 32>();
        int warp = uniform(threadIdx.x >> 5);
        // What the others read and write comes after what this warp reads.
        if (warp == 0) produce(p, board, queries, keys, values);
        if (warp == 1) clear_values(board, values);
    } else {
        take_registers<GROUPS == 2 ? 232 : 160>();
        consume(p, board, queries, keys, values);
    }
#endif
}
