// Norms over rows of float32. Bytes moved: each row is read from memory once (the second pass hits the first-level cache) and
// written once. See norm_body.h.

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "vlm_cpu_ops.h"

#define BODY "norm_body.h"
#include "instantiate.h"

void vlm_rms_norm(
    vlm_isa isa, float *out, long out_stride, const float *x, long x_stride, const float *weight, long rows, long heads,
    long width, float epsilon) {
    DISPATCH(isa, rms_norm, out, out_stride, x, x_stride, weight, rows, heads, width, epsilon);
}

void vlm_layer_norm(
    vlm_isa isa, float *out, long out_stride, const float *x, long x_stride, const float *weight, const float *bias, long rows,
    long heads, long width, float epsilon) {
    DISPATCH(isa, layer_norm, out, out_stride, x, x_stride, weight, bias, rows, heads, width, epsilon);
}
