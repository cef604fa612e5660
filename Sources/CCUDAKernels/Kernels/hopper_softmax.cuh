// Scores to weights for the two rows that a thread of Hopper attention has, as keys come in steps.
#pragma once

#include "hopper_tiles.cuh"

#if __CUDA_ARCH_FEAT_SM90_ALL && VLM_ELEMENT != 0

// What a thread knows of its two rows.
struct Rows {
    int limit[2];
    float top[2], sum[2], factor[2];
};

// Scores of positions from `position` on that a row does not see become -infinity.
template <int COUNT>
__device__ __forceinline__ void mask(float (&s)[COUNT], int position, const Rows &rows, int window) {
    int column = position + 2 * (threadIdx.x & 3);
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        int key = column + (i >> 2) * 8 + (i & 1), r = i >> 1 & 1;
        if (key >= rows.limit[r] || key < rows.limit[r] - window) s[i] = NOTHING;
    }
}

// The largest scores of this thread's two rows.
template <int COUNT>
__device__ __forceinline__ void find_tops(const float (&s)[COUNT], float (&top)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float other = NOTHING;
#pragma unroll
        for (int j = 0; j < COUNT / 4; j++) {
            top[r] = fmaxf(top[r], s[4 * j + 2 * r]);
            other = fmaxf(other, s[4 * j + 2 * r + 1]);
        }
        top[r] = fmaxf(top[r], other);
    }
}

// Makes room for scores up to `top`. Weights are 2^(scale · (score - rows.top)). Scores little above the top so far leave it as it is:
// weights up to 2^8 do no harm, and mostly nobody needs to ask the other lanes of the row, nor to scale what was summed.
//
// Returns whether any row of the warp has a new top; `rows.factor` is then what earlier weights must be multiplied by.
__device__ __forceinline__ bool raise(Rows &rows, float (&top)[2], float scale) {
    constexpr float room = 8.0f;
    bool grows = (top[0] - rows.top[0]) * scale > room || (top[1] - rows.top[1]) * scale > room;
    if (!__any_sync(0xffffffffu, grows)) return false;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 1));
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffu, top[r], 2));
        rows.factor[r] = 1.0f;
        if ((top[r] - rows.top[r]) * scale > room) {
            rows.factor[r] = exp2_approximate((rows.top[r] - top[r]) * scale);
            rows.top[r] = top[r];
            rows.sum[r] *= rows.factor[r];
        }
    }
    return true;
}

// Scores to weights, and their sums.
template <int COUNT>
__device__ __forceinline__ void weigh(float (&s)[COUNT], Rows &rows, float scale) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float base = rows.top[r] == NOTHING ? 0.0f : rows.top[r] * scale, sum = 0.0f, other = 0.0f;
#pragma unroll
        for (int j = 0; j < COUNT / 4; j++) {
            float &a = s[4 * j + 2 * r], &b = s[4 * j + 2 * r + 1];
            a = exp2_approximate(fmaf(a, scale, -base));
            b = exp2_approximate(fmaf(b, scale, -base));
            if (!SUM_COLUMN) sum += a, other += b;
        }
        if (!SUM_COLUMN) rows.sum[r] += sum + other;
    }
}

template <int COUNT>
__device__ __forceinline__ bool soften(float (&s)[COUNT], Rows &rows, float scale) {
    float top[2] = {NOTHING, NOTHING};
    find_tops(s, top);
    bool raised = raise(rows, top, scale);
    weigh(s, rows, scale);
    return raised;
}

#endif
