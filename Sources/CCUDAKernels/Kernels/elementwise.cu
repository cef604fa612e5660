// Kernels bound by memory: one pass over their operands, 16 bytes a thread where rows are aligned.
//
// Kernels named `..._vectors` or `..._8` need rows that start and end at multiples of 16 bytes; the host chooses.
#include "vectors.cuh"

constexpr int VECTOR = vector_size<element_t>;

// MARK: Norms

// Sum over a block of whole warps with one barrier; every thread gets it. `partials` (32 floats) must not be in use by an earlier sum.
__device__ __forceinline__ float block_total(float x, float *partials) {
    x = warp_sum(x);
    int lane = threadIdx.x & 31;
    if (lane == 0) partials[threadIdx.x >> 5] = x;
    __syncthreads();
    return warp_sum(lane < (blockDim.x >> 5) ? partials[lane] : 0.0f);
}

// A row in the registers of a warp or of a block, N vectors a thread: it is read once. The weights, which no kernel writes, are read
// before the previous kernel has finished.
template <bool LAYER, bool WARP, int N>
__device__ __forceinline__ void norm_vectors(const vlm_cuda_norm &p) {
    __shared__ float partials[2][32];
    allow_next();
    const int lane = WARP ? threadIdx.x & 31 : threadIdx.x;
    const int lanes = WARP ? 32 : blockDim.x;
    const int vectors = p.width / VECTOR;
    float weight[N][VECTOR], bias[N][VECTOR];
#pragma unroll
    for (int n = 0; n < N; n++) {
        int v = lane + n * lanes;
        if (v < vectors) {
            load_vectors<float, VECTOR>(p.weight + v * VECTOR, weight[n]);
            if (LAYER && p.bias) load_vectors<float, VECTOR>(p.bias + v * VECTOR, bias[n]);
        }
    }
    wait_for_previous();
    const int64_t unit = WARP ? (int64_t)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5) : blockIdx.x;
    if (unit >= p.units) return;
    const int64_t row = unit / p.heads, head = unit - row * p.heads;
    const uint4 *x = (const uint4 *)((const element_t *)p.x + row * p.x_stride + head * p.width);
    uint4 *out = (uint4 *)((element_t *)p.out + row * p.out_stride + head * p.width);

    uint4 raw[N];
    float total = 0.0f;
#pragma unroll
    for (int n = 0; n < N; n++) {
        int v = lane + n * lanes;
        raw[n] = v < vectors ? x[v] : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        float values[VECTOR];
        unpack<element_t>(raw[n], values);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) total += LAYER ? values[i] : values[i] * values[i];
    }
    total = WARP ? warp_sum(total) : block_total(total, partials[0]);
    float mean = 0.0f;
    if (LAYER) {
        mean = total / p.width;
        total = 0.0f;
#pragma unroll
        for (int n = 0; n < N; n++) {
            float values[VECTOR];
            unpack<element_t>(raw[n], values);
            if (lane + n * lanes < vectors) {
#pragma unroll
                for (int i = 0; i < VECTOR; i++) total += (values[i] - mean) * (values[i] - mean);
            }
        }
        total = WARP ? warp_sum(total) : block_total(total, partials[1]);
    }
    const float factor = 1.0f / sqrtf(total / p.width + p.epsilon);
#pragma unroll
    for (int n = 0; n < N; n++) {
        int v = lane + n * lanes;
        if (v >= vectors) continue;
        float values[VECTOR];
        unpack<element_t>(raw[n], values);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            values[i] = (values[i] - mean) * factor * weight[n][i];
            if (LAYER && p.bias) values[i] += bias[n][i];
        }
        out[v] = pack<element_t>(values);
    }
}

// Any width and alignment, a block per row; the row is read again for each sum.
template <bool LAYER>
__device__ __forceinline__ void norm_elements(const vlm_cuda_norm &p) {
    __shared__ float partials[2][32];
    allow_next();
    wait_for_previous();
    const int64_t unit = blockIdx.x, row = unit / p.heads, head = unit - row * p.heads;
    const element_t *x = (const element_t *)p.x + row * p.x_stride + head * p.width;
    element_t *out = (element_t *)p.out + row * p.out_stride + head * p.width;
    float total = 0.0f, mean = 0.0f;
    for (int i = threadIdx.x; i < p.width; i += blockDim.x) {
        float value = to_float(x[i]);
        total += LAYER ? value : value * value;
    }
    total = block_total(total, partials[0]);
    if (LAYER) {
        mean = total / p.width;
        total = 0.0f;
        for (int i = threadIdx.x; i < p.width; i += blockDim.x) {
            float value = to_float(x[i]) - mean;
            total += value * value;
        }
        total = block_total(total, partials[1]);
    }
    const float factor = 1.0f / sqrtf(total / p.width + p.epsilon);
    for (int i = threadIdx.x; i < p.width; i += blockDim.x) {
        float value = (to_float(x[i]) - mean) * factor * p.weight[i];
        if (LAYER && p.bias) value += p.bias[i];
        out[i] = from_float<element_t>(value);
    }
}

#define NORM_KERNEL(name, ...)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(1024) name(const __grid_constant__ vlm_cuda_norm p) { __VA_ARGS__(p); }
#define NORM_WARP_KERNEL(name, ...)                                                                                                \
    extern "C" __global__ void __launch_bounds__(128) name(const __grid_constant__ vlm_cuda_norm p) { __VA_ARGS__(p); }
#define NORM_BLOCK_KERNEL(name, ...)                                                                                               \
    extern "C" __global__ void __launch_bounds__(512) name(const __grid_constant__ vlm_cuda_norm p) { __VA_ARGS__(p); }

NORM_WARP_KERNEL(rms_norm_warp_1, norm_vectors<false, true, 1>)
NORM_WARP_KERNEL(rms_norm_warp_4, norm_vectors<false, true, 4>)
NORM_BLOCK_KERNEL(rms_norm_block_1, norm_vectors<false, false, 1>)
NORM_BLOCK_KERNEL(rms_norm_block_2, norm_vectors<false, false, 2>)
NORM_BLOCK_KERNEL(rms_norm_block_4, norm_vectors<false, false, 4>)
NORM_KERNEL(rms_norm_elements, norm_elements<false>)
NORM_WARP_KERNEL(layer_norm_warp_1, norm_vectors<true, true, 1>)
NORM_WARP_KERNEL(layer_norm_warp_4, norm_vectors<true, true, 4>)
NORM_BLOCK_KERNEL(layer_norm_block_1, norm_vectors<true, false, 1>)
NORM_BLOCK_KERNEL(layer_norm_block_2, norm_vectors<true, false, 2>)
NORM_BLOCK_KERNEL(layer_norm_block_4, norm_vectors<true, false, 4>)
NORM_KERNEL(layer_norm_elements, norm_elements<true>)

// MARK: Rotation

// Turns each pair (first[i], second[i]) by its angle.
__device__ __forceinline__ void turn(float *first, float *second, const float *cosine, const float *sine, int count) {
#pragma unroll
    for (int i = 0; i < count; i++) {
        float a = first[i], b = second[i];
        first[i] = a * cosine[i] - b * sine[i];
        second[i] = b * cosine[i] + a * sine[i];
    }
}

// Element i with i + pairs; a thread turns a vector of pairs.
extern "C" __global__ void __launch_bounds__(256) rotate_vectors(const __grid_constant__ vlm_cuda_rotate p) {
    allow_next();
    wait_for_previous();
    const uint32_t groups = p.pairs / VECTOR, index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t unit = index / groups, row = unit / p.heads, head = unit - row * p.heads;
    if (row >= p.rows) return;
    const int i = (index - unit * groups) * VECTOR;
    element_t *x = (element_t *)p.x + row * p.x_stride + (int64_t)head * p.size + i;
    float first[VECTOR], second[VECTOR], cosine[VECTOR], sine[VECTOR];
    load_vectors<element_t, VECTOR>(x, first);
    load_vectors<element_t, VECTOR>(x + p.pairs, second);
    load_vectors<float, VECTOR>(p.cosine + row * p.cosine_stride + i, cosine);
    load_vectors<float, VECTOR>(p.sine + row * p.sine_stride + i, sine);
    turn(first, second, cosine, sine, VECTOR);
    store_vectors<element_t, VECTOR>(x, first);
    store_vectors<element_t, VECTOR>(x + p.pairs, second);
}

// A thread turns one pair.
extern "C" __global__ void __launch_bounds__(256) rotate_pairs(const __grid_constant__ vlm_cuda_rotate p) {
    allow_next();
    wait_for_previous();
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t unit = index / p.pairs, row = unit / p.heads, head = unit - row * p.heads;
    if (row >= p.rows) return;
    const int i = index - unit * p.pairs;
    element_t *x = (element_t *)p.x + row * p.x_stride + (int64_t)head * p.size;
    const int first = p.interleaved ? 2 * i : i, second = p.interleaved ? 2 * i + 1 : i + p.pairs;
    float a = to_float(x[first]), b = to_float(x[second]);
    turn(&a, &b, p.cosine + row * p.cosine_stride + i, p.sine + row * p.sine_stride + i, 1);
    x[first] = from_float<element_t>(a);
    x[second] = from_float<element_t>(b);
}

// sinf and cosf reduce any angle exactly. The product is rounded to float32 first, as the reference rounds it.
extern "C" __global__ void __launch_bounds__(128) rotary_tables(const __grid_constant__ vlm_cuda_rotary_tables p) {
    allow_next();
    wait_for_previous();
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t row = index / p.columns, column = index - row * p.columns;
    if (row >= p.rows) return;
    const int axis = p.axes[column];
    const int32_t position = axis >= 0 && axis < p.axis_count ? p.positions[axis * p.positions_stride + row] : 0;
    float sine, cosine;
    sincosf(__fmul_rn(p.frequencies[column], (float)position), &sine, &cosine);
    p.cosine[row * p.cosine_stride + column] = cosine * p.factor;
    p.sine[row * p.sine_stride + column] = sine * p.factor;
}

// MARK: The cache

// First element of a slot's head in the cache, or -1 when there is no such slot.
__device__ __forceinline__ int64_t cache_place(int32_t slot, int64_t slot_count, int shift, int heads, int head, int size) {
    if (slot < 0 || slot >= slot_count) return -1;
    const int64_t block = slot >> shift, offset = slot & ((1 << shift) - 1);
    return (((block * heads + head) << shift) + offset) * size;
}

// Whole heads turn as i with i + size / 2: 2^lane_shift lanes share a head, each with a vector of pairs.
extern "C" __global__ void __launch_bounds__(128) rotate_and_cache_vectors(const __grid_constant__ vlm_cuda_rotate_and_cache p) {
    allow_next();
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t unit = index >> p.lane_shift, heads = p.heads + 2 * p.kv_heads;
    const uint32_t row = unit / heads, head = unit - row * heads;
    const int i = (index & ((1u << p.lane_shift) - 1)) * VECTOR;
    const bool active = row < p.rows && i < p.pairs, turns = head < p.heads + p.kv_heads;
    const float *weights = !turns ? nullptr : head < p.heads ? p.query_norm : p.key_norm;
    float firstWeight[VECTOR], secondWeight[VECTOR];
    if (active && weights) {
        load_vectors<float, VECTOR>(weights + i, firstWeight);
        load_vectors<float, VECTOR>(weights + i + p.pairs, secondWeight);
    }
    wait_for_previous();
    element_t *x = (element_t *)p.projected + row * p.stride + (int64_t)head * p.size + i;
    uint4 firstRaw = make_uint4(0, 0, 0, 0), secondRaw = firstRaw;
    float cosine[VECTOR], sine[VECTOR];
    int32_t slot = -1;
    if (active) {
        firstRaw = *(const uint4 *)x;
        secondRaw = *(const uint4 *)(x + p.pairs);
        if (head >= p.heads) slot = p.slots[row];
        if (turns) {
            load_vectors<float, VECTOR>(p.cosine + row * p.cosine_stride + i, cosine);
            load_vectors<float, VECTOR>(p.sine + row * p.sine_stride + i, sine);
        }
    }
    float first[VECTOR], second[VECTOR];
    unpack<element_t>(firstRaw, first);
    unpack<element_t>(secondRaw, second);
    if (p.query_norm) {
        // All lanes take part: heads of the three kinds may share a warp.
        float total = 0.0f;
#pragma unroll
        for (int j = 0; j < VECTOR; j++) total += first[j] * first[j] + second[j] * second[j];
        for (int d = 1 << p.lane_shift >> 1; d > 0; d >>= 1) total += __shfl_xor_sync(0xffffffffu, total, d);
        const float factor = 1.0f / sqrtf(total / p.size + p.epsilon);
        if (weights) {
#pragma unroll
            for (int j = 0; j < VECTOR; j++) {
                first[j] *= factor * firstWeight[j];
                second[j] *= factor * secondWeight[j];
            }
        }
    }
    if (!active) return;
    if (turns) {
        turn(first, second, cosine, sine, VECTOR);
        firstRaw = pack<element_t>(first);
        secondRaw = pack<element_t>(second);
    }
    element_t *to = x;
    if (head >= p.heads) {
        const int cached = turns ? head - p.heads : head - p.heads - p.kv_heads;
        const int64_t place = cache_place(slot, p.slot_count, p.block_shift, p.kv_heads, cached, p.size);
        if (place < 0) return;
        to = (element_t *)(turns ? p.keys : p.values) + place + i;
    }
    *(uint4 *)to = firstRaw;
    *(uint4 *)(to + p.pairs) = secondRaw;
}

// Any style, part of the head, size and alignment: a warp per head.
extern "C" __global__ void __launch_bounds__(128) rotate_and_cache_elements(const __grid_constant__ vlm_cuda_rotate_and_cache p) {
    allow_next();
    wait_for_previous();
    const uint32_t unit = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), heads = p.heads + 2 * p.kv_heads;
    const int lane = threadIdx.x & 31;
    const uint32_t row = unit / heads, head = unit - row * heads;
    if (row >= p.rows) return;
    const bool turns = head < p.heads + p.kv_heads;
    const element_t *x = (const element_t *)p.projected + row * p.stride + (int64_t)head * p.size;
    element_t *to = (element_t *)x;
    if (head >= p.heads) {
        const int cached = turns ? head - p.heads : head - p.heads - p.kv_heads;
        const int64_t place = cache_place(p.slots[row], p.slot_count, p.block_shift, p.kv_heads, cached, p.size);
        if (place < 0) return;
        to = (element_t *)(turns ? p.keys : p.values) + place;
    }
    if (!turns) {
        for (int i = lane; i < p.size; i += 32) to[i] = x[i];
        return;
    }
    const float *weights = head < p.heads ? p.query_norm : p.key_norm;
    float factor = 1.0f;
    if (weights) {
        float total = 0.0f;
        for (int i = lane; i < p.size; i += 32) total += to_float(x[i]) * to_float(x[i]);
        factor = 1.0f / sqrtf(warp_sum(total) / p.size + p.epsilon);
    }
    for (int i = lane; i < p.pairs; i += 32) {
        const int first = p.interleaved ? 2 * i : i, second = p.interleaved ? 2 * i + 1 : i + p.pairs;
        float a = to_float(x[first]), b = to_float(x[second]);
        if (weights) a *= factor * weights[first], b *= factor * weights[second];
        turn(&a, &b, p.cosine + row * p.cosine_stride + i, p.sine + row * p.sine_stride + i, 1);
        to[first] = from_float<element_t>(a);
        to[second] = from_float<element_t>(b);
    }
    for (int i = 2 * p.pairs + lane; i < p.size; i += 32) {
        float value = to_float(x[i]);
        if (weights) value *= factor * weights[i];
        to[i] = from_float<element_t>(value);
    }
}

template <typename UNIT>
__device__ __forceinline__ void write_cache(const vlm_cuda_write_cache &p) {
    allow_next();
    wait_for_previous();
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t unit = index / p.size, row = unit / p.kv_heads, head = unit - row * p.kv_heads;
    if (row >= p.rows) return;
    const int i = index - unit * p.size;
    const int64_t place = cache_place(p.slots[row], p.slot_count, p.block_shift, p.kv_heads, head, p.size);
    if (place < 0) return;
    const int64_t column = (int64_t)head * p.size + i;
    ((UNIT *)p.cached_keys)[place + i] = ((const UNIT *)p.keys)[row * p.keys_stride + column];
    ((UNIT *)p.cached_values)[place + i] = ((const UNIT *)p.values)[row * p.values_stride + column];
}

// MARK: Rows

// Which unit of which rows a thread has. A source row outside gives zeros, an out row outside is not written.
struct Place {
    bool exists, reads;
    int64_t source, out;
    uint32_t unit;
};
__device__ __forceinline__ Place place(const vlm_cuda_rows &p) {
    const uint64_t index = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t i = (uint32_t)index / p.units;
    Place place = {index < (uint64_t)p.rows * p.units, true, i, i, (uint32_t)index - i * p.units};
    if (!place.exists) return place;
    if (p.source_rows) {
        int64_t row = p.source_rows[i];
        if (row < 0 && p.lanes) row = -1 - row < p.lane_limit ? p.lanes[-1 - row] : -1;
        place.source = row;
        place.reads = row >= 0 && row < p.source_limit;
    }
    if (p.out_rows) {
        place.out = p.out_rows[i];
        place.exists = place.out >= 0 && place.out < p.out_limit;
    }
    return place;
}

// Bytes as they are.
template <typename UNIT>
__device__ __forceinline__ void move_rows(const vlm_cuda_rows &p) {
    allow_next();
    wait_for_previous();
    const Place at = place(p);
    if (!at.exists) return;
    UNIT value = {};
    if (at.reads) value = ((const UNIT *)p.source)[at.source * p.source_stride + at.unit];
    ((UNIT *)p.out)[at.out * p.out_stride + at.unit] = value;
}

template <int COUNT>
__device__ __forceinline__ void convert_rows(const vlm_cuda_rows &p) {
    allow_next();
    wait_for_previous();
    const Place at = place(p);
    if (!at.exists) return;
    float values[COUNT] = {};
    if (at.reads) load_elements<COUNT>(p.source_type, p.source, at.source * p.source_stride + at.unit * COUNT, values);
    store_elements<COUNT>(p.out_type, p.out, at.out * p.out_stride + at.unit * COUNT, values);
}

template <int COUNT>
__device__ __forceinline__ void add_rows(const vlm_cuda_rows &p) {
    allow_next();
    wait_for_previous();
    const Place at = place(p);
    if (!at.exists || !at.reads) return;
    const int64_t to = at.out * p.out_stride + at.unit * COUNT;
    float values[COUNT], sums[COUNT];
    load_elements<COUNT>(p.source_type, p.source, at.source * p.source_stride + at.unit * COUNT, values);
    load_elements<COUNT>(p.out_type, p.out, to, sums);
#pragma unroll
    for (int i = 0; i < COUNT; i++) sums[i] += values[i];
    store_elements<COUNT>(p.out_type, p.out, to, sums);
}

template <int COUNT>
__device__ __forceinline__ void add_weighted_rows(const vlm_cuda_weighted_rows &p) {
    allow_next();
    wait_for_previous();
    const uint64_t index = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= (uint64_t)p.rows * p.units) return;
    const uint32_t row = (uint32_t)index / p.units;
    const int64_t column = (int64_t)((uint32_t)index - row * p.units) * COUNT, to = row * p.out_stride + column;
    float values[COUNT], sums[COUNT] = {};
    for (int k = 0; k < p.taps; k++) {
        const int64_t place = (int64_t)row * p.taps + k, from = p.indices[place];
        if (from < 0 || from >= p.table_limit) continue;
        load_elements<COUNT>(p.table_type, p.table, from * p.table_stride + column, values);
#pragma unroll
        for (int i = 0; i < COUNT; i++) sums[i] += p.weights[place] * values[i];
    }
    load_elements<COUNT>(p.out_type, p.out, to, values);
#pragma unroll
    for (int i = 0; i < COUNT; i++) sums[i] += values[i];
    store_elements<COUNT>(p.out_type, p.out, to, sums);
}

template <int COUNT, bool SCALES>
__device__ __forceinline__ void change_rows(const vlm_cuda_rows &p) {
    allow_next();
    wait_for_previous();
    const Place at = place(p);
    if (!at.exists) return;
    const int64_t to = at.out * p.out_stride + at.unit * COUNT;
    float values[COUNT];
    load_elements<COUNT>(p.out_type, p.out, to, values);
#pragma unroll
    for (int i = 0; i < COUNT; i++) values[i] = SCALES ? p.factor * values[i] : activate(p.activation, values[i]);
    store_elements<COUNT>(p.out_type, p.out, to, values);
}

#define ROWS_KERNEL(name, parameters, ...)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ parameters p) { __VA_ARGS__(p); }

ROWS_KERNEL(write_cache_16, vlm_cuda_write_cache, write_cache<uint4>)
ROWS_KERNEL(write_cache_4, vlm_cuda_write_cache, write_cache<uint32_t>)
ROWS_KERNEL(write_cache_2, vlm_cuda_write_cache, write_cache<uint16_t>)
ROWS_KERNEL(move_rows_16, vlm_cuda_rows, move_rows<uint4>)
ROWS_KERNEL(move_rows_4, vlm_cuda_rows, move_rows<uint32_t>)
ROWS_KERNEL(move_rows_2, vlm_cuda_rows, move_rows<uint16_t>)
ROWS_KERNEL(move_rows_1, vlm_cuda_rows, move_rows<uint8_t>)
ROWS_KERNEL(convert_rows_8, vlm_cuda_rows, convert_rows<8>)
ROWS_KERNEL(convert_rows_1, vlm_cuda_rows, convert_rows<1>)
ROWS_KERNEL(add_rows_8, vlm_cuda_rows, add_rows<8>)
ROWS_KERNEL(add_rows_1, vlm_cuda_rows, add_rows<1>)
ROWS_KERNEL(add_weighted_rows_8, vlm_cuda_weighted_rows, add_weighted_rows<8>)
ROWS_KERNEL(add_weighted_rows_1, vlm_cuda_weighted_rows, add_weighted_rows<1>)
ROWS_KERNEL(activate_rows_8, vlm_cuda_rows, change_rows<8, false>)
ROWS_KERNEL(activate_rows_1, vlm_cuda_rows, change_rows<1, false>)
ROWS_KERNEL(scale_rows_8, vlm_cuda_rows, change_rows<8, true>)
ROWS_KERNEL(scale_rows_1, vlm_cuda_rows, change_rows<1, true>)
