// Element-wise operations for one instruction set.

#include "vector.h"

#include "vector_math.h"

static void ISA(add)(float *out, long out_stride, const float *x, long x_stride, long rows, long width) {
    for (long row = 0; row < rows; row++) {
        float *to = out + row * out_stride;
        const float *from = x + row * x_stride;
        for (long i = 0; i < width; i++) to[i] += from[i];
    }
}

static void ISA(scale)(float *x, long stride, long rows, long width, float factor) {
    for (long row = 0; row < rows; row++) {
        float *to = x + row * stride;
        for (long i = 0; i < width; i++) to[i] *= factor;
    }
}

// The functions the epilogues of matrix multiplication apply, so that both give the same bits.
INLINE VF ISA(apply)(VF x, vlm_activation f) {
    switch (f) {
        case VLM_ACTIVATION_NONE: return x;
        case VLM_ACTIVATION_GELU: return vm_gelu(x);
        case VLM_ACTIVATION_GELU_TANH: return vm_gelu_tanh(x);
        case VLM_ACTIVATION_QUICK_GELU: return vm_quick_gelu(x);
        case VLM_ACTIVATION_SILU: return vm_silu(x);
        case VLM_ACTIVATION_RELU: return vm_relu(x);
        case VLM_ACTIVATION_TANH: return vm_tanh(x);
    }
    return x;
}

INLINE void ISA(activate_rows)(float *x, long stride, long rows, long width, vlm_activation f) {
    for (long row = 0; row < rows; row++) {
        float *p = x + row * stride;
        long i = 0;
        for (; i + W <= width; i += W) ISA(store)(p + i, ISA(apply)(ISA(load)(p + i), f));
        if (i < width) ISA(store_part)(p + i, ISA(apply)(ISA(load_part)(p + i, width - i), f), width - i);
    }
}

static void ISA(activate)(float *x, long stride, long rows, long width, vlm_activation f) {
    // A constant function per loop, so that no branch stays inside.
    switch (f) {
        case VLM_ACTIVATION_NONE: break;
        case VLM_ACTIVATION_GELU: ISA(activate_rows)(x, stride, rows, width, VLM_ACTIVATION_GELU); break;
        case VLM_ACTIVATION_GELU_TANH: ISA(activate_rows)(x, stride, rows, width, VLM_ACTIVATION_GELU_TANH); break;
        case VLM_ACTIVATION_QUICK_GELU: ISA(activate_rows)(x, stride, rows, width, VLM_ACTIVATION_QUICK_GELU); break;
        case VLM_ACTIVATION_SILU: ISA(activate_rows)(x, stride, rows, width, VLM_ACTIVATION_SILU); break;
        case VLM_ACTIVATION_RELU: ISA(activate_rows)(x, stride, rows, width, VLM_ACTIVATION_RELU); break;
        case VLM_ACTIVATION_TANH: ISA(activate_rows)(x, stride, rows, width, VLM_ACTIVATION_TANH); break;
    }
}

// Bits of the float32 equal to a float16, without the conversion instruction: exponent moved by multiplication, so that
// subnormals come out right.
INLINE float ISA(half_to_float)(uint16_t h) {
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
    float scaled;
    memcpy(&scaled, &magnitude, sizeof scaled);
    scaled *= 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    bits |= special | (uint32_t)(h & 0x8000) << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

INLINE float ISA(bf16_to_float)(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static void ISA(widen)(float *restrict out, const void *restrict x, vlm_element type, long count, bool accumulate) {
    const uint16_t *h = x;
    const float *f = x;
    if (type == VLM_F32) {
        for (long i = 0; i < count; i++) out[i] = accumulate ? out[i] + f[i] : f[i];
    } else if (type == VLM_BF16) {
        for (long i = 0; i < count; i++) out[i] = accumulate ? out[i] + ISA(bf16_to_float)(h[i]) : ISA(bf16_to_float)(h[i]);
    } else {
        for (long i = 0; i < count; i++) out[i] = accumulate ? out[i] + ISA(half_to_float)(h[i]) : ISA(half_to_float)(h[i]);
    }
}

static void ISA(add_scaled)(float *restrict out, const void *restrict x, vlm_element type, float factor, long count) {
    const uint16_t *h = x;
    const float *f = x;
    if (type == VLM_F32) {
        for (long i = 0; i < count; i++) out[i] += factor * f[i];
    } else if (type == VLM_BF16) {
        for (long i = 0; i < count; i++) out[i] += factor * ISA(bf16_to_float)(h[i]);
    } else {
        for (long i = 0; i < count; i++) out[i] += factor * ISA(half_to_float)(h[i]);
    }
}

static void ISA(narrow)(uint16_t *out, const float *x, long count) {
    long i = 0;
    for (; i + W <= count; i += W) *(VH *)(out + i) = __builtin_convertvector(ISA(round_bf16)(ISA(load)(x + i)), VH);
    if (i < count) {
        VU rest = ISA(round_bf16)(ISA(load_part)(x + i, count - i));
        for (long j = 0; i + j < count; j++) out[i + j] = (uint16_t)rest[j];
    }
}
