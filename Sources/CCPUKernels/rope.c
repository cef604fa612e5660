// Rotary embedding in place. See rope_body.h.

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "vlm_cpu_ops.h"

#define BODY "rope_body.h"
#include "instantiate.h"

void vlm_rotate(
    vlm_isa isa, float *x, long x_stride, const float *cosine, long cosine_stride, const float *sine, long sine_stride, long rows,
    long heads, long head_size, long r, bool interleaved) {
    if (interleaved)
        DISPATCH(isa, rotate_interleaved, x, x_stride, cosine, cosine_stride, sine, sine_stride, rows, heads, head_size, r);
    else
        DISPATCH(isa, rotate_halves, x, x_stride, cosine, cosine_stride, sine, sine_stride, rows, heads, head_size, r);
}
