// Exponential, tanh and erfc for a vector type, and the activation functions made of them.
//
// Included by kernel files after they define VM_TARGET (function attributes), VM_WIDTH (floats of a vector) and VM_FMA(a, b, c).
// Errors, measured over all of float32's useful range in the tests, are a few units in the last place.
// Written with clang's vector extensions, so that one text serves AVX-512, AVX2, NEON and plain C.

#include <stdint.h>

typedef float vm_float __attribute__((vector_size(4 * VM_WIDTH), aligned(4)));
typedef int32_t vm_int __attribute__((vector_size(4 * VM_WIDTH), aligned(4)));

#define VM_INLINE static inline __attribute__((always_inline)) VM_TARGET

VM_INLINE vm_float vm_set(float value) { return value - (vm_float){0}; }
VM_INLINE vm_float vm_load(const float *from) { return *(const vm_float *)from; }
VM_INLINE void vm_store(float *to, vm_float value) { *(vm_float *)to = value; }
VM_INLINE vm_float vm_select(vm_int mask, vm_float yes, vm_float no) {
    return (vm_float)(((vm_int)yes & mask) | ((vm_int)no & ~mask));
}
VM_INLINE vm_float vm_abs(vm_float x) { return (vm_float)((vm_int)x & 0x7fffffff); }

/// e^(x + tail) for a small correction `tail`; saturates near the ends of float32's range, passes NaN through.
VM_INLINE vm_float vm_exp_tail(vm_float x, vm_float tail) {
    vm_float y = vm_select(x < vm_set(-87.3f), vm_set(-87.3f), x);
    y = vm_select(y > vm_set(88.3f), vm_set(88.3f), y);
    // x = n ln 2 + r, |r| <= ln 2 / 2; adding 1.5 · 2^23 rounds to an integer. ln 2 in two parts keeps r exact.
    const vm_float magic = vm_set(12582912.0f);
    vm_float shifted = VM_FMA(y, vm_set(1.44269504089f), magic);
    vm_float n = shifted - magic;
    vm_float r = VM_FMA(n, vm_set(-0.693359375f), y);
    r = VM_FMA(n, vm_set(2.12194440e-4f), r) + tail;
    // Taylor's series to r^7; its remainder at ln 2 / 2 is 5e-9.
    vm_float p = vm_set(1.0f / 5040);
    p = VM_FMA(p, r, vm_set(1.0f / 720));
    p = VM_FMA(p, r, vm_set(1.0f / 120));
    p = VM_FMA(p, r, vm_set(1.0f / 24));
    p = VM_FMA(p, r, vm_set(1.0f / 6));
    p = VM_FMA(p, r, vm_set(0.5f));
    p = VM_FMA(p, r * r, r) + vm_set(1.0f);
    vm_int exponent = ((vm_int)shifted - (vm_int)magic + 127) << 23;
    return p * (vm_float)exponent;
}

VM_INLINE vm_float vm_exp(vm_float x) { return vm_exp_tail(x, vm_set(0)); }

/// 1 / (1 + e^-x)
VM_INLINE vm_float vm_sigmoid(vm_float x) { return vm_set(1) / (vm_set(1) + vm_exp(-x)); }

/// erfc(|x| / √2), relative error below 1e-6 down to where it vanishes.
///
/// With t = 1 / (1 + z/2), erfc(z) = t · R(t) · e^(-z²): R is smooth, and a polynomial of degree 9 in 2t - 1, fitted in double
/// precision to minimise the largest relative error on 0 <= z <= 9.5, is within 1.8e-8 of it.
VM_INLINE vm_float vm_erfc_root_half(vm_float x) {
    vm_float z = vm_abs(x) * vm_set(0.70710678118654752f);
    vm_float t = vm_set(1) / VM_FMA(z, vm_set(0.5f), vm_set(1));
    vm_float u = VM_FMA(t, vm_set(2), vm_set(-1));
    vm_float p = vm_set(2.70547794e-05f);
    p = VM_FMA(p, u, vm_set(-0.000270634326f));
    p = VM_FMA(p, u, vm_set(0.000362314531f));
    p = VM_FMA(p, u, vm_set(0.00152639668f));
    p = VM_FMA(p, u, vm_set(-0.00321828788f));
    p = VM_FMA(p, u, vm_set(-0.010752696f));
    p = VM_FMA(p, u, vm_set(0.018218156f));
    p = VM_FMA(p, u, vm_set(0.139735871f));
    p = VM_FMA(p, u, vm_set(0.343580452f));
    p = VM_FMA(p, u, vm_set(0.510791355f));
    // The square's rounding error matters once it is large: carry it into the exponential.
    vm_float square = x * x;
    vm_float rest = VM_FMA(x, x, -square);
    return t * p * vm_exp_tail(square * vm_set(-0.5f), rest * vm_set(-0.5f));
}

/// x/2 (1 + erf(x/√2)), without the cancellation for negative x.
VM_INLINE vm_float vm_gelu(vm_float x) {
    vm_float tail = vm_erfc_root_half(x);
    vm_float result = vm_set(0.5f) * x * vm_select(x > vm_set(0), vm_set(2) - tail, tail);
    // Beyond ±13 the tail is zero in float32, and x² may overflow.
    result = vm_select(x > vm_set(13), x, result);
    return vm_select(x < vm_set(-13), vm_set(0), result);
}

/// x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), as x · sigmoid(2 …), which is the same and does not cancel.
VM_INLINE vm_float vm_gelu_tanh(vm_float x) {
    vm_float inner = VM_FMA(x * x, vm_set(0.044715f * 1.5957691216057308f), vm_set(1.5957691216057308f));
    vm_float result = x * vm_sigmoid(x * inner);
    return vm_select(x < vm_set(-11), vm_set(0), result);
}

VM_INLINE vm_float vm_quick_gelu(vm_float x) {
    return vm_select(x < vm_set(-60), vm_set(0), x * vm_sigmoid(x * vm_set(1.702f)));
}

VM_INLINE vm_float vm_silu(vm_float x) {
    // e^-x saturates at e^88.3: below -88 the product would stop falling.
    return vm_select(x < vm_set(-104), vm_set(0), x * vm_sigmoid(x));
}

/// 2 sigmoid(2x) - 1, and its series where that would cancel.
VM_INLINE vm_float vm_tanh(vm_float x) {
    vm_float square = x * x;
    vm_float series = VM_FMA(square, vm_set(-17.0f / 315), vm_set(2.0f / 15));
    series = VM_FMA(square, series, vm_set(-1.0f / 3));
    series = VM_FMA(square * series, x, x);
    vm_float whole = VM_FMA(vm_set(2), vm_sigmoid(x + x), vm_set(-1));
    return vm_select(square < vm_set(0.0625f), series, whole);
}

/// max(x, 0); NaN stays NaN.
VM_INLINE vm_float vm_relu(vm_float x) { return vm_select(x < vm_set(0), vm_set(0), x); }
