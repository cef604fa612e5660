// Rotary embedding for one instruction set.

#include "vector.h"

// Dimension i turns with i + r.
static void ISA(rotate_halves)(
    float *x, long x_stride, const float *cosine, long cosine_stride, const float *sine, long sine_stride, long rows, long heads,
    long head_size, long r) {
    for (long row = 0; row < rows; row++) {
        const float *c = cosine + row * cosine_stride, *s = sine + row * sine_stride;
        for (long head = 0; head < heads; head++) {
            float *a = x + row * x_stride + head * head_size, *b = a + r;
            long i = 0;
            for (; i + W <= r; i += W) {
                VF ai = ISA(load)(a + i), bi = ISA(load)(b + i), ci = ISA(load)(c + i), si = ISA(load)(s + i);
                ISA(store)(a + i, ai * ci - bi * si);
                ISA(store)(b + i, bi * ci + ai * si);
            }
            for (; i < r; i++) {
                float ai = a[i], bi = b[i];
                a[i] = ai * c[i] - bi * s[i];
                b[i] = bi * c[i] + ai * s[i];
            }
        }
    }
}

// Dimension 2i turns with 2i + 1; the compiler's own vectors of pairs serve here.
static void ISA(rotate_interleaved)(
    float *x, long x_stride, const float *cosine, long cosine_stride, const float *sine, long sine_stride, long rows, long heads,
    long head_size, long r) {
    for (long row = 0; row < rows; row++) {
        const float *c = cosine + row * cosine_stride, *s = sine + row * sine_stride;
        for (long head = 0; head < heads; head++) {
            float *restrict a = x + row * x_stride + head * head_size;
            for (long i = 0; i < r; i++) {
                float even = a[2 * i], odd = a[2 * i + 1];
                a[2 * i] = even * c[i] - odd * s[i];
                a[2 * i + 1] = odd * c[i] + even * s[i];
            }
        }
    }
}
