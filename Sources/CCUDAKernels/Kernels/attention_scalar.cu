// Attention without tensor cores: float32 in all arithmetic, any head size, any alignment.
//
// Goldens are compared in float32, where the tensor cores would round to 11 bits. 256 threads, 16 by 16, hold the scores of a tile of
// rows and keys and the sums of its rows. Softmax is online as in attention.cu; weights are not rounded.
#include "attention.cuh"

constexpr int head_size = VLM_HEAD_SIZE;
constexpr int padded = (head_size + 3) / 4 * 4;
// Floats of a row in shared memory: four more, so that 16 rows spread over the banks.
constexpr int pitch = padded + 4;
// Rows and keys of a thread; 99 KB of shared memory bound them.
constexpr int thread_rows = head_size <= 128 ? 4 : head_size <= 256 ? 2 : 1;
constexpr int thread_keys = head_size <= 256 ? 2 : 1;
constexpr int tile_rows = 16 * thread_rows;
constexpr int tile_keys = 16 * thread_keys;
constexpr int weight_pitch = tile_keys + 4;
// Groups of four columns a thread sums.
constexpr int column_groups = (padded + 63) / 64;

__device__ __forceinline__ void load_keys(
    const vlm_cuda_attention &p, const attention_tile &t, const void *source, int64_t stride, int32_t first, float *shared) {
    for (int row = threadIdx.x >> 5; row < tile_keys; row += 8) {
        int32_t key = first + row;
        bool valid = key >= t.keys_begin && key < t.keys_end;
        const element_t *line = (const element_t *)source + (valid ? key_offset<head_size>(p, t, key, stride) : 0);
        for (int column = threadIdx.x & 31; column < padded; column += 32)
            shared[row * pitch + column] = valid && column < head_size ? to_float(line[column]) : 0;
    }
}

__device__ __forceinline__ void fma4(float4 &sum, float a, float4 b) {
    sum.x = fmaf(a, b.x, sum.x);
    sum.y = fmaf(a, b.y, sum.y);
    sum.z = fmaf(a, b.z, sum.z);
    sum.w = fmaf(a, b.w, sum.w);
}

// Shared memory: queries [tile_rows, pitch], keys or values [tile_keys, pitch], weights [tile_rows, weight_pitch], float32.
extern "C" __global__ void __launch_bounds__(256) attention_scalar(const __grid_constant__ vlm_cuda_attention p) {
    extern __shared__ __align__(16) float shared_floats[];
    float *queries = shared_floats, *keys = queries + tile_rows * pitch, *weights = keys + tile_keys * pitch;
    wait_for_previous();
    allow_next();
    attention_tile t;
    if (!find_tile<tile_rows>(p, t)) return;
    int x = threadIdx.x & 15, y = threadIdx.x >> 4;

    for (int row = threadIdx.x >> 5; row < tile_rows; row += 8) {
        int32_t r = t.row + row;
        bool valid = r < t.rows;
        int32_t token = valid ? t.token(r) : 0;
        const element_t *line = (const element_t *)p.q;
        if (valid) line += (int64_t)(t.first + token) * p.q_stride + t.head(r, token) * head_size;
        for (int column = threadIdx.x & 31; column < padded; column += 32)
            queries[row * pitch + column] = valid && column < head_size ? to_float(line[column]) : 0;
    }

    float4 o[thread_rows][column_groups];
    float largest[thread_rows], total[thread_rows];
    int2 seen[thread_rows];
#pragma unroll
    for (int i = 0; i < thread_rows; i++) {
        largest[i] = negative_infinity;
        total[i] = 0;
        seen[i] = t.visible(t.row + y * thread_rows + i, p.window);
#pragma unroll
        for (int c = 0; c < column_groups; c++) o[i][c] = make_float4(0, 0, 0, 0);
    }

    for (int32_t first = t.keys_begin / tile_keys * tile_keys; first < t.keys_end; first += tile_keys) {
        __syncthreads();
        load_keys(p, t, p.k, p.k_stride, first, keys);
        __syncthreads();
        float s[thread_rows][thread_keys] = {};
#pragma unroll 4
        for (int column = 0; column < padded; column += 4) {
            float4 k[thread_keys];
#pragma unroll
            for (int j = 0; j < thread_keys; j++) k[j] = *(const float4 *)(keys + (x + 16 * j) * pitch + column);
#pragma unroll
            for (int i = 0; i < thread_rows; i++) {
                float4 q = *(const float4 *)(queries + (y * thread_rows + i) * pitch + column);
#pragma unroll
                for (int j = 0; j < thread_keys; j++)
                    s[i][j] = fmaf(q.x, k[j].x, fmaf(q.y, k[j].y, fmaf(q.z, k[j].z, fmaf(q.w, k[j].w, s[i][j]))));
            }
        }
#pragma unroll
        for (int i = 0; i < thread_rows; i++) {
            float now = largest[i];
#pragma unroll
            for (int j = 0; j < thread_keys; j++) {
                s[i][j] *= p.scale;
                if (p.softcap > 0) s[i][j] = p.softcap * tanhf(s[i][j] / p.softcap);
                int32_t key = first + x + 16 * j;
                if (key < seen[i].x || key >= seen[i].y) s[i][j] = negative_infinity;
                now = fmaxf(now, s[i][j]);
            }
            // The 16 threads of a row are neighbours in a warp.
#pragma unroll
            for (int d = 8; d > 0; d >>= 1) now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, d));
            float offset = now == negative_infinity ? 0 : now;
            float correction = expf(largest[i] - offset);
            largest[i] = now;
            total[i] *= correction;
#pragma unroll
            for (int c = 0; c < column_groups; c++) {
                o[i][c].x *= correction;
                o[i][c].y *= correction;
                o[i][c].z *= correction;
                o[i][c].w *= correction;
            }
#pragma unroll
            for (int j = 0; j < thread_keys; j++) {
                float weight = expf(s[i][j] - offset);
                total[i] += weight;
                weights[(y * thread_rows + i) * weight_pitch + x + 16 * j] = weight;
            }
        }
        __syncthreads();
        load_keys(p, t, p.v, p.v_stride, first, keys);
        __syncthreads();
        for (int key = 0; key < tile_keys; key += 4) {
            float4 w[thread_rows];
#pragma unroll
            for (int i = 0; i < thread_rows; i++) w[i] = *(const float4 *)(weights + (y * thread_rows + i) * weight_pitch + key);
#pragma unroll
            for (int c = 0; c < column_groups; c++) {
                int column = x * 4 + c * 64;
                if (column >= padded) break;
                const float *line = keys + key * pitch + column;
                float4 v0 = *(const float4 *)line, v1 = *(const float4 *)(line + pitch), v2 = *(const float4 *)(line + 2 * pitch),
                       v3 = *(const float4 *)(line + 3 * pitch);
#pragma unroll
                for (int i = 0; i < thread_rows; i++) {
                    fma4(o[i][c], w[i].x, v0);
                    fma4(o[i][c], w[i].y, v1);
                    fma4(o[i][c], w[i].z, v2);
                    fma4(o[i][c], w[i].w, v3);
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < thread_rows; i++) {
        float sum = total[i];
#pragma unroll
        for (int d = 8; d > 0; d >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, d);
        float inverse = sum > 0 ? 1 / sum : 0;
        int32_t r = t.row + y * thread_rows + i;
        if (r >= t.rows) continue;
        int32_t token = t.token(r);
        element_t *out = (element_t *)p.out + (int64_t)(t.first + token) * p.out_stride + t.head(r, token) * head_size;
#pragma unroll
        for (int c = 0; c < column_groups; c++) {
            int column = x * 4 + c * 64;
            float values[4] = {o[i][c].x, o[i][c].y, o[i][c].z, o[i][c].w};
#pragma unroll
            for (int k = 0; k < 4; k++)
                if (column + k < head_size) out[column + k] = from_float<element_t>(values[k] * inverse);
        }
    }
}
