// Matrix products with weights `[out, in]`: the skinny kernel of decoding (skinny.cuh), a generic one that takes every shape and
// stride, and the epilogue of products that a library made.
#include "skinny.cuh"
#include "vectors.cuh"

// Few rows of x, weights read once at the speed of memory. Blocks: any number up to what fits the device at once. Threads:
// VLM_CUDA_SKINNY_THREADS. Rows of x: at most 8, or 16.
extern "C" __global__ void __launch_bounds__(VLM_CUDA_SKINNY_THREADS, 2) linear_skinny_8(const __grid_constant__ vlm_cuda_linear p) {
    skinny<8>(p);
}
extern "C" __global__ void __launch_bounds__(VLM_CUDA_SKINNY_THREADS, 2) linear_skinny_16(const __grid_constant__ vlm_cuda_linear p) {
    skinny<16>(p);
}

// Any shape, any stride, sums in float32 over the input features in order. Grid: tiles of weight rows, tiles of rows of x. Threads: 256.
// A thread makes 4 rows of x by 4 weight rows: two pairs 8 apart, so that a gate meets its up.
extern "C" __global__ void __launch_bounds__(256) linear_generic(const __grid_constant__ vlm_cuda_linear p) {
    constexpr int edge = VLM_CUDA_GENERIC_TILE, depth = 16;
    __shared__ float xs[depth][edge + 4], ws[depth][edge + 4];
    wait_for_previous();
    allow_next();
    const element_t *x = (const element_t *)p.x, *weight = (const element_t *)p.weight;
    int64_t first_row = (int64_t)blockIdx.y * edge;
    int first_weight = blockIdx.x * edge;
    int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    int pair = 32 * (tx >> 3) + (tx & 7);  // weight rows pair, +8, +16, +24 of the tile
    float sums[4][4] = {};
    for (int k0 = 0; k0 < p.in_features; k0 += depth) {
        for (int i = threadIdx.x; i < edge * depth; i += 256) {
            int r = i / depth, k = i % depth;
            bool inside = k0 + k < p.in_features;
            int64_t row = first_row + r;
            xs[k][r] = inside && row < p.rows ? to_float(x[row * p.x_stride + k0 + k]) : 0.0f;
            ws[k][r] = inside && first_weight + r < p.weight_rows
                           ? to_float(weight[(int64_t)(first_weight + r) * p.weight_stride + k0 + k])
                           : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < depth; k++) {
            float a[4], b[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                a[i] = xs[k][4 * ty + i];
                b[i] = ws[k][pair + 8 * i];
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int64_t row = first_row + 4 * ty + i;
        if (row >= p.rows) continue;
#pragma unroll
        for (int j = 0; j < 4; j += 2) {
            int w = first_weight + pair + 8 * j;
            if (p.epilogue == VLM_CUDA_GATED) {
                // The padding of a gate-up weight makes its rows a multiple of 16.
                if (w + 8 < p.weight_rows) finish_gated(p, row, w, sums[i][j], sums[i][j + 1]);
            } else {
                if (w < p.weight_rows) finish(p, row, w, sums[i][j]);
                if (w + 8 < p.weight_rows) finish(p, row, w + 8, sums[i][j + 1]);
            }
        }
    }
}

// The epilogue over a product `x [rows, weight_rows]` in float32. Grid: rows, blocks of 256 columns of out. Threads: 256.
extern "C" __global__ void __launch_bounds__(256) linear_finish(const __grid_constant__ vlm_cuda_linear p) {
    wait_for_previous();
    allow_next();
    int64_t row = blockIdx.x;
    int column = blockIdx.y * 256 + threadIdx.x;
    if (column >= p.out_columns) return;
    const float *product = (const float *)p.x + row * p.x_stride;
    if (p.epilogue == VLM_CUDA_GATED) {
        int w = (column >> 3) * 16 + (column & 7);
        finish_gated(p, row, w, product[w], product[w + 8]);
    } else {
        finish(p, row, column, product[column]);
    }
}

#if VLM_ELEMENT != 0
// Activations for results of 16 bits, with a few instructions each: a pass over a large product is otherwise bound by them rather than by
// memory. Absolute errors are below 1e-6 of the argument; `activate` is for results of any type.
template <int KIND>
__device__ __forceinline__ float activate_short(float x) {
    if constexpr (KIND == VLM_CUDA_GELU) {
        // erf by formula 7.1.26 of Abramowitz and Stegun, which is off by 1.5e-7 at most.
        float z = fabsf(x) * 0.70710678118654752f;
        float t = __fdividef(1.0f, fmaf(0.3275911f, z, 1.0f));
        float series = fmaf(fmaf(fmaf(fmaf(1.061405429f, t, -1.453152027f), t, 1.421413741f), t, -0.284496736f), t, 0.254829592f);
        float tail = 0.5f * series * t * __expf(-z * z);
        return x * (x < 0.0f ? tail : 1.0f - tail);
    } else if constexpr (KIND == VLM_CUDA_GELU_TANH) {
        // (1 + tanh u) / 2 = 1 / (1 + exp(-2u))
        return __fdividef(x, 1.0f + __expf(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
    } else if constexpr (KIND == VLM_CUDA_QUICK_GELU) {
        return __fdividef(x, 1.0f + __expf(-1.702f * x));
    } else if constexpr (KIND == VLM_CUDA_SILU) {
        return __fdividef(x, 1.0f + __expf(-x));
    } else if constexpr (KIND == VLM_CUDA_RELU) {
        return fmaxf(x, 0.0f);
    } else if constexpr (KIND == VLM_CUDA_TANH) {
        return tanhf(x);
    } else {
        return x;
    }
}

// Eight columns of one row at a time, VLM_CUDA_REST_VECTORS times, all loads first.
template <int KIND, bool GATED>
__device__ __forceinline__ void rest(const vlm_cuda_linear_rest &p) {
    constexpr int count = VLM_CUDA_REST_VECTORS;
    element_t *out = (element_t *)p.out;
    const element_t *product = (const element_t *)p.product;
    uint32_t first = blockIdx.x * (VLM_CUDA_REST_THREADS * count) + threadIdx.x;
    int64_t places[count];
    uint4 gates[count], ups[count];
#pragma unroll
    for (int i = 0; i < count; i++) {
        uint32_t vector = first + i * VLM_CUDA_REST_THREADS;
        if (vector >= p.vectors) continue;
        uint32_t row = vector / p.row_vectors, column = vector - row * p.row_vectors;
        places[i] = row * p.out_stride + column * 8;
        if constexpr (GATED) {
            const uint4 *pair = (const uint4 *)(product + row * p.product_stride + (int64_t)column * 16);
            gates[i] = pair[0];
            ups[i] = pair[1];
        } else {
            gates[i] = *(const uint4 *)(out + places[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < count; i++) {
        if (first + i * VLM_CUDA_REST_THREADS >= p.vectors) continue;
        float values[8];
        unpack<element_t>(gates[i], values);
#pragma unroll
        for (int j = 0; j < 8; j++) values[j] = activate_short<KIND>(values[j]);
        if constexpr (GATED) {
            float factors[8];
            unpack<element_t>(ups[i], factors);
#pragma unroll
            for (int j = 0; j < 8; j++) values[j] *= factors[j];
        }
        *(uint4 *)(out + places[i]) = pack<element_t>(values);
    }
}

template <bool GATED>
__device__ __forceinline__ void rest_of(const vlm_cuda_linear_rest &p) {
    wait_for_previous();
    allow_next();
    switch (p.activation) {
    case VLM_CUDA_GELU: rest<VLM_CUDA_GELU, GATED>(p); break;
    case VLM_CUDA_GELU_TANH: rest<VLM_CUDA_GELU_TANH, GATED>(p); break;
    case VLM_CUDA_QUICK_GELU: rest<VLM_CUDA_QUICK_GELU, GATED>(p); break;
    case VLM_CUDA_SILU: rest<VLM_CUDA_SILU, GATED>(p); break;
    case VLM_CUDA_RELU: rest<VLM_CUDA_RELU, GATED>(p); break;
    case VLM_CUDA_TANH: rest<VLM_CUDA_TANH, GATED>(p); break;
    default: rest<VLM_CUDA_NONE, GATED>(p);
    }
}

// out = f(out), out = f(gate) · up of products that a library stored in 16 bits. Any number of blocks that covers the vectors.
extern "C" __global__ void __launch_bounds__(VLM_CUDA_REST_THREADS) linear_activate(const __grid_constant__ vlm_cuda_linear_rest p) {
    rest_of<false>(p);
}
extern "C" __global__ void __launch_bounds__(VLM_CUDA_REST_THREADS) linear_gate(const __grid_constant__ vlm_cuda_linear_rest p) {
    rest_of<true>(p);
}
#endif
