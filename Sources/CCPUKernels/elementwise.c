// Element-wise operations and conversions of rows. All are bound by memory; see elementwise_body.h.

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <string.h>

#include "vlm_cpu_ops.h"

// vector_math.h is written for one instruction set per file; here each gets a copy of its own names.
#define VM_TARGET
#define VM_WIDTH W
#define VM_FMA(a, b, c) ((a) * (b) + (c))
#define vm_float ISA(vm_float_)
#define vm_int ISA(vm_int_)
#define vm_set ISA(vm_set_)
#define vm_load ISA(vm_load_)
#define vm_store ISA(vm_store_)
#define vm_select ISA(vm_select_)
#define vm_abs ISA(vm_abs_)
#define vm_exp_tail ISA(vm_exp_tail_)
#define vm_exp ISA(vm_exp_)
#define vm_sigmoid ISA(vm_sigmoid_)
#define vm_erfc_root_half ISA(vm_erfc_root_half_)
#define vm_gelu ISA(vm_gelu_)
#define vm_gelu_tanh ISA(vm_gelu_tanh_)
#define vm_quick_gelu ISA(vm_quick_gelu_)
#define vm_silu ISA(vm_silu_)
#define vm_tanh ISA(vm_tanh_)
#define vm_relu ISA(vm_relu_)

#define BODY "elementwise_body.h"
#include "instantiate.h"

void vlm_add(vlm_isa isa, float *out, long out_stride, const float *x, long x_stride, long rows, long width) {
    DISPATCH(isa, add, out, out_stride, x, x_stride, rows, width);
}

void vlm_activate(vlm_isa isa, float *x, long stride, long rows, long width, vlm_activation f) {
    DISPATCH(isa, activate, x, stride, rows, width, f);
}

void vlm_scale(vlm_isa isa, float *x, long stride, long rows, long width, float factor) {
    DISPATCH(isa, scale, x, stride, rows, width, factor);
}

void vlm_widen(vlm_isa isa, float *out, const void *x, vlm_element type, long count) {
    if (type == VLM_F32)
        memcpy(out, x, (size_t)count * sizeof(float));
    else
        DISPATCH(isa, widen, out, x, type, count, false);
}

void vlm_add_widened(vlm_isa isa, float *out, const void *x, vlm_element type, long count) {
    DISPATCH(isa, widen, out, x, type, count, true);
}

void vlm_add_scaled(vlm_isa isa, float *out, const void *x, vlm_element type, float factor, long count) {
    DISPATCH(isa, add_scaled, out, x, type, factor, count);
}

void vlm_narrow(vlm_isa isa, void *out, const float *x, vlm_element type, long count) {
    if (type == VLM_F32)
        memcpy(out, x, (size_t)count * sizeof(float));
    else
        DISPATCH(isa, narrow, out, x, count);
}
