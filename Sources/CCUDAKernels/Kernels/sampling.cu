// Tokens from logits, as Engine/Sampler.swift chooses them (transformers 5.17.0's processors): penalties, mask, temperature, top-k, top-p,
// min-p, in that order, then a walk over what is left, likeliest first.
//
// The blocks of a cluster share a row; each keeps its part in shared memory, so logits are read once. Nothing is sorted: every step of the
// chain asks for the one candidate at which a sum over all candidates before it (how many, or how much probability) passes a target, and the
// answer is found by histograms of ever finer digits of the candidates' ranks, until few enough are left to compare each with each.
// Probabilities are summed as integers, units of 2^-40 of the likeliest's, so that sums do not depend on the order of additions.
#include "cluster.cuh"

constexpr int threads = VLM_CUDA_SAMPLING_THREADS;
constexpr int most_ranks = VLM_CUDA_SAMPLING_CLUSTER;
constexpr int bins = 1024;
constexpr int bin_bits = 10;
// Candidates that are compared each with each.
constexpr int list_size = 256;
constexpr int id_bits = VLM_CUDA_SAMPLING_ID_BITS;
constexpr uint64_t none = ~0ull;
#define infinity __int_as_float(0x7f800000)

// MARK: - Candidates

// A candidate's place in the order of the walk: greater logits first, equal ones by id.
__device__ __forceinline__ uint64_t rank_of(float x, int id) {
    uint32_t bits = __float_as_uint(x == 0 ? 0.0f : x);
    uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)~ascending << id_bits | (uint32_t)id;
}
__device__ __forceinline__ float logit_of(uint64_t rank) {
    uint32_t ascending = ~(uint32_t)(rank >> id_bits);
    return __uint_as_float(ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending);
}
__device__ __forceinline__ int id_of(uint64_t rank) { return (int)(rank & ((1 << id_bits) - 1)); }

// Uniform in [0, 1) with 53 random bits: Engine/RandomSource.swift.
__device__ __forceinline__ double uniform(uint64_t seed, int32_t step) {
    uint64_t z = seed + 0x9E3779B97F4A7C15ull * ((uint64_t)(int64_t)step + 1);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

__device__ __forceinline__ uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

struct SelectionSpace {
    uint32_t count[bins], low[bins], high[bins];
    // Of the cluster: block r has bins r · (bins / ranks) and following.
    uint32_t cluster_count[bins];
    uint64_t cluster_mass[bins];
    uint64_t warp[33];
    uint64_t best;
    uint64_t own_list[list_size], list[list_size], masses[list_size];
    uint32_t own_listed, peer_listed[most_ranks];
    // What a selection found.
    int bin;
    uint32_t bin_count, listed;
    uint64_t before, answer, total;
};

// One row, and this block's part of it.
struct Row {
    const vlm_cuda_sample &p;
    SelectionSpace &space;
    // The block's logits, after the penalty: shared memory or the row itself.
    const float *values;
    int first, count, ranks, rank;

    float peak, temperature, min_p;
    // The least likely candidate that is left.
    uint64_t limit;
    // Whether `space.list` holds all that are left.
    bool is_listed;
    int list_count;

    __device__ __forceinline__ void meet() const {
        if (ranks > 1) {
            cluster_arrive();
            cluster_wait();
        } else {
            __syncthreads();
        }
    }

    // A probability relative to the likeliest's.
    __device__ __forceinline__ float weight(float x) const { return expf((x - peak) / temperature); }
    __device__ __forceinline__ uint64_t mass(float x, bool choosing) const {
        float w = weight(x);
        return choosing && w < min_p ? 0 : (uint64_t)(w * 0x1p40f);
    }
};

enum Quantity { by_count, by_probability, by_choice };

// Answers, for the candidates up to `row.limit`, which is the one before which their quantities sum to at most the target, and to more with
// it; `none` when the target is not reached. `target` gives the target for the total. All threads of all blocks of the cluster call it and
// get the same answer.
template <Quantity quantity, typename Target>
__device__ __forceinline__ uint64_t select(Row &row, Target target_of) {
    SelectionSpace &s = row.space;
    const bool was_listed = row.is_listed;
    uint64_t before = 0, target = 0;
    // Digits that the group under search shares: first of the distance to the peak, later of the rank itself.
    uint32_t group = 0;
    uint64_t rank_group = 0;
    const float scale = quantity == by_count ? 32768.0f : 32768.0f / row.temperature;
    constexpr int rank_levels = (32 + id_bits + bin_bits - 1) / bin_bits;

    for (int level = 0; !row.is_listed; level++) {
        const int shift = max(0, 32 + id_bits - bin_bits * (level - 1));
        // How much of the rank earlier levels have fixed.
        const int fixed = 32 + id_bits - bin_bits * (level - 2);
        auto digit = [&](uint64_t rank, float x, uint32_t &bin) {
            // 20 bits of fixed point; it falls as logits rise, and equal logits have equal ones.
            uint32_t distance = (uint32_t)fminf((row.peak - x) * scale, 1048575.0f);
            if (level == 0) {
                bin = distance >> bin_bits;
                return true;
            }
            if (level == 1) {
                bin = distance & (bins - 1);
                return distance >> bin_bits == group;
            }
            bin = (uint32_t)(rank >> shift) & (bins - 1);
            return distance == group && (level == 2 || rank >> fixed == rank_group);
        };

        for (int b = threadIdx.x; b < bins; b += threads) s.count[b] = s.low[b] = s.high[b] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < row.count; i += threads) {
            float x = row.values[i];
            if (!(x > -infinity)) continue;
            uint64_t rank = rank_of(x, row.first + i);
            uint32_t bin;
            if (rank > row.limit || !digit(rank, x, bin)) continue;
            atomicAdd(&s.count[bin], 1);
            if (quantity != by_count) {
                uint64_t mass = row.mass(x, quantity == by_choice);
                uint32_t low = (uint32_t)mass, high = (uint32_t)(mass >> 32);
                if (low) high += atomicAdd(&s.low[bin], low) + low < low;
                if (high) atomicAdd(&s.high[bin], high);
            }
        }
        row.meet();
        // Sums over the cluster: each block of some of the bins.
        const int share = bins / row.ranks;
        for (int b = threadIdx.x; b < share; b += threads) {
            uint32_t count = 0;
            uint64_t mass = 0;
            for (int r = 0; r < row.ranks; r++) {
                int bin = row.rank * share + b;
                count += load_peer(&s.count[bin], r);
                if (quantity != by_count)
                    mass += load_peer(&s.low[bin], r) + ((uint64_t)load_peer(&s.high[bin], r) << 32);
            }
            s.cluster_count[b] = count;
            s.cluster_mass[b] = quantity == by_count ? count : mass;
        }
        row.meet();
        // Sums over the bins, a thread each.
        const int bin = threadIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
        const uint32_t count = load_peer(&s.cluster_count[bin % share], bin / share);
        const uint64_t mass = load_peer(&s.cluster_mass[bin % share], bin / share);
        uint64_t through = mass;
        for (int d = 1; d < 32; d *= 2) {
            uint64_t other = __shfl_up_sync(0xffffffffu, through, d);
            if (lane >= d) through += other;
        }
        if (lane == 31) s.warp[warp] = through;
        if (threadIdx.x == 0) s.bin = -1;
        __syncthreads();
        for (int w = 0; w < warp; w++) through += s.warp[w];
        if (bin == bins - 1) s.total = through;
        __syncthreads();
        if (level == 0) {
            target = target_of(s.total);
            if (s.total <= target) return none;
        }
        if (before + through - mass <= target && target < before + through) {
            s.bin = bin;
            s.bin_count = count;
            s.before = before + through - mass;
        }
        // How many candidates there are up to the bin that was found.
        uint32_t counted = count;
        for (int d = 1; d < 32; d *= 2) {
            uint32_t other = __shfl_up_sync(0xffffffffu, counted, d);
            if (lane >= d) counted += other;
        }
        __syncthreads();
        if (lane == 31) s.warp[warp] = counted;
        __syncthreads();
        if (bin == s.bin) {
            for (int w = 0; w < warp; w++) counted += (uint32_t)s.warp[w];
            s.listed = counted;
        }
        __syncthreads();
        const int found = s.bin;
        const bool takes_all = level == 0 && s.listed <= list_size;
        if (takes_all || s.bin_count <= list_size || level == rank_levels + 1) {
            // Few enough: list them, together with all before them where these are few too.
            if (threadIdx.x == 0) s.own_listed = 0;
            __syncthreads();
            for (int i = threadIdx.x; i < row.count; i += threads) {
                float x = row.values[i];
                if (!(x > -infinity)) continue;
                uint64_t rank = rank_of(x, row.first + i);
                uint32_t bin;
                if (rank > row.limit || !digit(rank, x, bin)) continue;
                if (takes_all ? bin <= found : bin == found) {
                    uint32_t place = atomicAdd(&s.own_listed, 1);
                    if (place < list_size) s.own_list[place] = rank;
                }
            }
            row.meet();
            int listed = 0;
            for (int r = 0; r < row.ranks; r++) {
                int more = min((int)load_peer(&s.own_listed, r), list_size - listed);
                if ((int)threadIdx.x < more) s.list[listed + threadIdx.x] = load_peer(&s.own_list[threadIdx.x], r);
                listed += more;
            }
            row.list_count = listed;
            row.is_listed = takes_all;
            if (!takes_all) before = s.before;
            // Others may still read this block's list; what follows meets before it is filled again.
            break;
        }
        before = s.before;
        if (level <= 1)
            group = group << bin_bits | found;
        else
            rank_group = (level == 2 ? 0 : rank_group << (fixed - shift)) | found;
        __syncthreads();
    }

    // Each with each.
    __syncthreads();
    const int listed = row.list_count;
    uint64_t own = none, own_mass = 0;
    if ((int)threadIdx.x < listed) {
        own = s.list[threadIdx.x];
        own_mass = own > row.limit ? 0 : quantity == by_count ? 1 : row.mass(logit_of(own), quantity == by_choice);
        s.masses[threadIdx.x] = own_mass;
    }
    if (threadIdx.x == 0) s.answer = none;
    __syncthreads();
    if ((int)threadIdx.x < listed) {
        uint64_t total = 0, sum = before;
        for (int i = 0; i < listed; i++) {
            total += s.masses[i];
            if (s.list[i] < own) sum += s.masses[i];
        }
        // A list that was made just now ends with the answer's bin; the target came from the total of all.
        if (was_listed) target = target_of(total);
        if (sum <= target && target < sum + own_mass) s.answer = own;
    }
    __syncthreads();
    return s.answer;
}

// MARK: - Kernels

// The least of the cluster's values, for all threads.
__device__ __forceinline__ uint64_t cluster_min(const Row &row, uint64_t x) {
    SelectionSpace &s = row.space;
    for (int d = 16; d > 0; d /= 2) x = smaller(x, __shfl_xor_sync(0xffffffffu, x, d));
    if ((threadIdx.x & 31) == 0) s.warp[threadIdx.x >> 5] = x;
    __syncthreads();
    if (threadIdx.x < 32) {
        x = s.warp[threadIdx.x];
        for (int d = 16; d > 0; d /= 2) x = smaller(x, __shfl_xor_sync(0xffffffffu, x, d));
        if (threadIdx.x == 0) s.best = x;
    }
    row.meet();
    x = none;
    for (int r = 0; r < row.ranks; r++) x = smaller(x, load_peer(&s.best, r));
    return x;
}

template <bool is_full>
__device__ __forceinline__ void sample(const vlm_cuda_sample &p, float *cache, SelectionSpace &space) {
    allow_next();
    const vlm_cuda_sampling_row choice = p.rows[blockIdx.y];
    const int ranks = gridDim.x, rank = blockIdx.x;
    wait_for_previous();
    if (choice.lane < 0 || choice.lane >= p.lanes) return;

    // The row in units of 16 aligned bytes; its first may begin before the row.
    float *logits = p.logits + blockIdx.y * p.stride;
    const int ahead = (int)((uint64_t)logits >> 2 & 3);
    const int units = (p.vocabulary + ahead + 3) / 4, share = (units + ranks - 1) / ranks;
    const int begin = min(rank * share, units), end = min(begin + share, units);
    const int first = max(begin * 4 - ahead, 0), last = max(min(end * 4 - ahead, p.vocabulary), first);
    const bool penalized = is_full && choice.repetition_penalty != 1;
    const bool counted = is_full && p.counts && (choice.presence_penalty != 0 || choice.frequency_penalty != 0);
    const bool masked = is_full && choice.mask >= 0 && choice.mask < p.lanes;
    const uint32_t *seen = p.seen + (int64_t)choice.lane * p.seen_words;
    const uint16_t *counts = p.counts + (counted ? (int64_t)choice.lane * p.vocabulary : 0);
    const uint32_t *mask = p.masks + (masked ? (int64_t)choice.mask * p.seen_words : 0);
    float best = -infinity;
    int best_id = 0;
#pragma unroll 4
    for (int u = begin + threadIdx.x; u < end; u += threads) {
        const int id = u * 4 - ahead;
        float x[4];
        if (id >= 0 && id + 4 <= p.vocabulary) {
            float4 v = *(const float4 *)(logits + id);
            x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
        } else {
            for (int i = 0; i < 4; i++) x[i] = id + i >= 0 && id + i < p.vocabulary ? logits[id + i] : -infinity;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int token = id + i;
            if (token < 0 || token >= p.vocabulary) continue;
            if (penalized && (seen[token >> 5] >> (token & 31) & 1))
                x[i] = x[i] < 0 ? x[i] * choice.repetition_penalty : x[i] / choice.repetition_penalty;
            // Rounded as the host rounds, which does not fuse.
            if (counted && counts[token] > 0)
                x[i] = __fsub_rn(
                    x[i], __fadd_rn(choice.presence_penalty, __fmul_rn(choice.frequency_penalty, (float)counts[token])));
            if (masked && !(mask[token >> 5] >> (token & 31) & 1)) x[i] = -infinity;
            if (is_full && p.is_cached)
                cache[token - first] = x[i];
            else if (penalized || counted || masked)
                logits[token] = x[i];
            if (x[i] > best) {
                best = x[i];
                best_id = token;
            }
        }
    }
    Row row = {p, space, is_full && p.is_cached ? cache : logits + first, first, last - first, ranks, rank};
    uint64_t chosen = cluster_min(row, best > -infinity ? rank_of(best, best_id) : none);
    row.peak = chosen == none ? -infinity : logit_of(chosen);
    const bool is_finite = row.peak > -infinity && row.peak < infinity;

    if (is_full && is_finite && choice.temperature > 0) {
        row.temperature = choice.temperature;
        row.min_p = choice.min_p;
        row.limit = none;
        row.is_listed = false;
        if (choice.top_k > 0 && choice.top_k < p.vocabulary)
            row.limit = select<by_count>(row, [&](uint64_t total) { return (uint64_t)(choice.top_k - 1); });
        if (choice.top_p < 1) {
            // A token stays when the probability before it is below topP.
            row.limit = select<by_probability>(row, [&](uint64_t total) {
                uint64_t bound = (uint64_t)ceil((double)choice.top_p * (double)total);
                return bound == 0 ? 0 : min(bound, total) - 1;
            });
        }
        const double point = uniform((uint64_t)choice.seed_high << 32 | choice.seed_low, choice.step);
        chosen = select<by_choice>(row, [&](uint64_t total) { return min((uint64_t)(point * (double)total), total - 1); });
    }

    if (rank == 0 && threadIdx.x == 0) {
        const int token = is_finite && chosen != none ? id_of(chosen) : -1;
        p.newest[choice.lane] = token;
        if (token >= 0) {
            atomicOr(p.seen + (int64_t)choice.lane * p.seen_words + (token >> 5), 1u << (token & 31));
            if (is_full && p.counts) {
                uint16_t &count = p.counts[(int64_t)choice.lane * p.vocabulary + token];
                if (count < 0xffff) count++;
            }
        }
        if (choice.result >= 0 && choice.result < p.result_count) {
            p.results[choice.result] = token;
            __threadfence_system();
        }
    }
    // No block may end while another reads its memory.
    if (ranks > 1) {
        cluster_arrive();
        cluster_wait();
    }
}

extern "C" __global__ void __launch_bounds__(threads) sample_greedy(const __grid_constant__ vlm_cuda_sample p) {
    __shared__ SelectionSpace space;
    sample<false>(p, nullptr, space);
}

// Shared memory: the block's part of a row, float32, if `is_cached`.
extern "C" __global__ void __launch_bounds__(threads) sample_full(const __grid_constant__ vlm_cuda_sample p) {
    extern __shared__ __align__(16) float cache[];
    __shared__ SelectionSpace space;
    sample<true>(p, cache, space);
}
