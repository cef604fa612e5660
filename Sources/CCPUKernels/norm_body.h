// Root-mean-square and layer norm for one instruction set. Sums run in 4 W partial sums.

#include "vector.h"

INLINE float ISA(sum_of_squares)(const float *x, long n, float shift) {
    VF s[4] = {{0}, {0}, {0}, {0}};
    long i = 0;
    for (; i + 4 * W <= n; i += 4 * W)
        for (int j = 0; j < 4; j++) {
            VF d = ISA(load)(x + i + j * W) - shift;
            s[j] += d * d;
        }
    for (; i + W <= n; i += W) {
        VF d = ISA(load)(x + i) - shift;
        s[0] += d * d;
    }
    float sum = ISA(sum)((s[0] + s[1]) + (s[2] + s[3]));
    for (; i < n; i++) sum += (x[i] - shift) * (x[i] - shift);
    return sum;
}

INLINE float ISA(sum_of)(const float *x, long n) {
    VF s[4] = {{0}, {0}, {0}, {0}};
    long i = 0;
    for (; i + 4 * W <= n; i += 4 * W)
        for (int j = 0; j < 4; j++) s[j] += ISA(load)(x + i + j * W);
    for (; i + W <= n; i += W) s[0] += ISA(load)(x + i);
    float sum = ISA(sum)((s[0] + s[1]) + (s[2] + s[3]));
    for (; i < n; i++) sum += x[i];
    return sum;
}

static void ISA(rms_norm)(
    float *out, long out_stride, const float *x, long x_stride, const float *weight, long rows, long heads, long width,
    float epsilon) {
    for (long row = 0; row < rows; row++)
        for (long head = 0; head < heads; head++) {
            const float *from = x + row * x_stride + head * width;
            float *to = out + row * out_stride + head * width;
            float factor = 1.0f / __builtin_elementwise_sqrt(ISA(sum_of_squares)(from, width, 0) / (float)width + epsilon);
            long i = 0;
            for (; i + W <= width; i += W) ISA(store)(to + i, ISA(load)(from + i) * factor * ISA(load)(weight + i));
            for (; i < width; i++) to[i] = from[i] * factor * weight[i];
        }
}

static void ISA(layer_norm)(
    float *out, long out_stride, const float *x, long x_stride, const float *weight, const float *bias, long rows, long heads,
    long width, float epsilon) {
    for (long row = 0; row < rows; row++)
        for (long head = 0; head < heads; head++) {
            const float *from = x + row * x_stride + head * width;
            float *to = out + row * out_stride + head * width;
            float mean = ISA(sum_of)(from, width) / (float)width;
            // Around the mean, not E[x^2] - mean^2: outliers would cancel.
            float factor = 1.0f / __builtin_elementwise_sqrt(ISA(sum_of_squares)(from, width, mean) / (float)width + epsilon);
            long i = 0;
            for (; i + W <= width; i += W) {
                VF y = (ISA(load)(from + i) - mean) * factor * ISA(load)(weight + i);
                ISA(store)(to + i, bias ? y + ISA(load)(bias + i) : y);
            }
            for (; i < width; i++) {
                float y = (from[i] - mean) * factor * weight[i];
                to[i] = bias ? y + bias[i] : y;
            }
        }
}
