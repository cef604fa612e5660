// The tile kernels of one instruction set, included by gemm_<level>.c after it defines
//
//   GT_NAME       name of the table of kernels
//   VM_TARGET     function attributes that switch the instructions on
//   VM_WIDTH      floats of a vector
//   VM_FMA        a * b + c on vectors
//   GT_ROWS       rows of a tile
//   GT_VECTORS    vectors of a tile's width, for tall tiles
//   GT_REGISTERS  accumulators that fit in registers: short tiles are as wide as a panel when these suffice
//   GT_DOT        optional: acc + the dot product of bfloat16 pairs, on (vm_float, vm_int, vm_int), and with it
//   GT_STORE_BF16 rounds two vectors of float32 to bfloat16
//
// A tile of `rows` x `vectors` accumulators lives in registers for a whole chunk of K. Loops over rows and vectors have constant
// bounds and are unrolled away; if they were not, accumulators would be spilled, so look at the disassembly after a change.

#include <string.h>

#include "gemm_internal.h"
#include "vector_math.h"

#define GT_PANEL_VECTORS (VLM_PANEL / VM_WIDTH)
#define GT_UNROLL _Pragma("clang loop unroll(full)")

/// Orders the computation of a register before all memory accesses that follow.
#if defined(__x86_64__)
#define GT_PIN(value) __asm__ volatile("" : "+v"(value)::"memory")
#elif defined(__aarch64__)
#define GT_PIN(value) __asm__ volatile("" : "+w"(value)::"memory")
#else
#define GT_PIN(value)
#endif

VM_INLINE void gt_tile(
    const size_t rows, const size_t vectors, const vlm_gemm_kind kind, size_t steps, const void *a, const void *b,
    float *tile, bool first, const vlm_ahead *ahead
) {
    const size_t stride = kind == VLM_GEMM_BF16_WIDE ? 2 * VLM_CHUNK : VLM_CHUNK;
    for (size_t column = 0; column < VLM_PANEL; column += vectors * VM_WIDTH) {
        vm_float acc[GT_ROWS][GT_PANEL_VECTORS];
        GT_UNROLL for (size_t r = 0; r < rows; r++) {
            GT_UNROLL for (size_t v = 0; v < vectors; v++) {
                acc[r][v] = first ? vm_set(0) : vm_load(tile + r * VLM_PANEL + column + v * VM_WIDTH);
            }
        }
        const float *as = a;
        const float *bs = (const float *)b + column;
        const char *ahead1 = ahead->first, *ahead2 = ahead->second;
        const size_t ahead1_step = ahead->first_step, ahead2_step = ahead->second_step;
        for (size_t step = 0; step < steps; step++) {
            __builtin_prefetch(ahead1, 0, 3);
            __builtin_prefetch(ahead2, 0, 3);
            ahead1 += ahead1_step;
            ahead2 += ahead2_step;
            vm_float bv[GT_PANEL_VECTORS];
            GT_UNROLL for (size_t v = 0; v < vectors; v++) bv[v] = vm_load(bs + v * VM_WIDTH);
            if (kind == VLM_GEMM_F32) {
                GT_UNROLL for (size_t r = 0; r < rows; r++) {
                    vm_float value = vm_set(as[r * stride]);
                    GT_UNROLL for (size_t v = 0; v < vectors; v++) acc[r][v] = VM_FMA(value, bv[v], acc[r][v]);
                }
                as += 1;
            } else if (kind == VLM_GEMM_BF16_DOT) {
#ifdef GT_DOT
                GT_UNROLL for (size_t r = 0; r < rows; r++) {
                    vm_int value = (vm_int)vm_set(as[r * stride]);
                    GT_UNROLL for (size_t v = 0; v < vectors; v++) acc[r][v] = GT_DOT(acc[r][v], value, (vm_int)bv[v]);
                }
#endif
                as += 1;
            } else {
                vm_float low[GT_PANEL_VECTORS];
                GT_UNROLL for (size_t v = 0; v < vectors; v++) low[v] = (vm_float)((vm_int)bv[v] << 16);
                GT_UNROLL for (size_t r = 0; r < rows; r++) {
                    vm_float value = vm_set(as[r * stride]);
                    GT_UNROLL for (size_t v = 0; v < vectors; v++) acc[r][v] = VM_FMA(value, low[v], acc[r][v]);
                }
                // Finish this half before the next and read the words again rather than keep them: with sixteen registers
                // anything else that is alive pushes an accumulator out.
                GT_UNROLL for (size_t r = 0; r < rows; r++) {
                    GT_UNROLL for (size_t v = 0; v < vectors; v++) GT_PIN(acc[r][v]);
                }
                GT_UNROLL for (size_t v = 0; v < vectors; v++) {
                    bv[v] = (vm_float)((vm_int)vm_load(bs + v * VM_WIDTH) & (int32_t)0xffff0000);
                }
                GT_UNROLL for (size_t r = 0; r < rows; r++) {
                    vm_float value = vm_set(as[r * stride + 1]);
                    GT_UNROLL for (size_t v = 0; v < vectors; v++) acc[r][v] = VM_FMA(value, bv[v], acc[r][v]);
                }
                as += 2;
            }
            bs += VLM_PANEL;
        }
        GT_UNROLL for (size_t r = 0; r < rows; r++) {
            GT_UNROLL for (size_t v = 0; v < vectors; v++) {
                vm_store(tile + r * VLM_PANEL + column + v * VM_WIDTH, acc[r][v]);
            }
        }
    }
}

/// Vectors of a tile of `rows` rows.
#define GT_WIDTH(rows) ((rows)*GT_PANEL_VECTORS <= GT_REGISTERS ? GT_PANEL_VECTORS : GT_VECTORS)

#define GT_KERNEL(kind, rows)                                                                                    \
    VM_TARGET static void gt_##kind##_##rows(                                                                    \
        size_t steps, const void *a, const void *b, float *tile, bool first, const vlm_ahead *ahead) {           \
        gt_tile(rows, GT_WIDTH(rows), VLM_GEMM_##kind, steps, a, b, tile, first, ahead);                         \
    }
#define GT_KERNELS_TO_4(kind) GT_KERNEL(kind, 1) GT_KERNEL(kind, 2) GT_KERNEL(kind, 3) GT_KERNEL(kind, 4)
#define GT_NAMES_TO_4(kind) NULL, gt_##kind##_1, gt_##kind##_2, gt_##kind##_3, gt_##kind##_4
#if GT_ROWS == 4
#define GT_KERNELS(kind) GT_KERNELS_TO_4(kind)
#define GT_NAMES(kind) {GT_NAMES_TO_4(kind)}
#elif GT_ROWS == 6
#define GT_KERNELS(kind) GT_KERNELS_TO_4(kind) GT_KERNEL(kind, 5) GT_KERNEL(kind, 6)
#define GT_NAMES(kind) {GT_NAMES_TO_4(kind), gt_##kind##_5, gt_##kind##_6}
#elif GT_ROWS == 12
#define GT_KERNELS(kind)                                                                                        \
    GT_KERNELS_TO_4(kind) GT_KERNEL(kind, 5) GT_KERNEL(kind, 6) GT_KERNEL(kind, 7) GT_KERNEL(kind, 8)           \
    GT_KERNEL(kind, 9) GT_KERNEL(kind, 10) GT_KERNEL(kind, 11) GT_KERNEL(kind, 12)
#define GT_NAMES(kind)                                                                                          \
    {GT_NAMES_TO_4(kind), gt_##kind##_5, gt_##kind##_6, gt_##kind##_7, gt_##kind##_8,                           \
     gt_##kind##_9, gt_##kind##_10, gt_##kind##_11, gt_##kind##_12}
#endif

GT_KERNELS(F32)
GT_KERNELS(BF16_WIDE)
#ifdef GT_DOT
GT_KERNELS(BF16_DOT)
#endif

// MARK: Rows of activations

/// float32 words, one a step or two.
VM_TARGET static void gt_rows_float(
    const float *x, size_t stride, size_t rows, size_t tile_rows, size_t in_features, void *a, size_t width
) {
    float *chunk = a;
    for (size_t k = 0; k < in_features; k += width, chunk += tile_rows * width) {
        size_t count = in_features - k < width ? in_features - k : width;
        for (size_t r = 0; r < rows; r++) {
            memcpy(chunk + r * width, x + r * stride + k, count * sizeof(float));
            if (count < width) memset(chunk + r * width + count, 0, (width - count) * sizeof(float));
        }
    }
}

VM_TARGET static void gt_rows_f32(
    const float *x, size_t stride, size_t rows, size_t tile_rows, size_t in_features, void *a
) {
    gt_rows_float(x, stride, rows, tile_rows, in_features, a, VLM_CHUNK);
}

VM_TARGET static void gt_rows_wide(
    const float *x, size_t stride, size_t rows, size_t tile_rows, size_t in_features, void *a
) {
    gt_rows_float(x, stride, rows, tile_rows, in_features, a, 2 * VLM_CHUNK);
}

#ifdef GT_DOT
/// float32 to pairs of bfloat16.
VM_TARGET static void gt_rows_dot(
    const float *x, size_t stride, size_t rows, size_t tile_rows, size_t in_features, void *a
) {
    const size_t width = 2 * VLM_CHUNK;
    uint16_t *chunk = a;
    for (size_t k = 0; k < in_features; k += width, chunk += tile_rows * width) {
        size_t count = in_features - k < width ? in_features - k : width;
        for (size_t r = 0; r < rows; r++) {
            const float *from = x + r * stride + k;
            uint16_t *to = chunk + r * width;
            size_t i = 0;
            for (; i + 2 * VM_WIDTH <= count; i += 2 * VM_WIDTH) GT_STORE_BF16(to + i, from + i);
            if (i < width) {
                float rest[2 * VM_WIDTH] = {0};
                memcpy(rest, from + i, (count - i) * sizeof(float));
                GT_STORE_BF16(to + i, rest);
                i += 2 * VM_WIDTH;
                if (i < width) memset(to + i, 0, (width - i) * sizeof(uint16_t));
            }
        }
    }
}
#endif

// MARK: Epilogues

VM_INLINE vm_float gt_activate(const vlm_activation activation, vm_float x) {
    switch (activation) {
    case VLM_ACTIVATION_NONE: return x;
    case VLM_ACTIVATION_GELU: return vm_gelu(x);
    case VLM_ACTIVATION_GELU_TANH: return vm_gelu_tanh(x);
    case VLM_ACTIVATION_QUICK_GELU: return vm_quick_gelu(x);
    case VLM_ACTIVATION_SILU: return vm_silu(x);
    case VLM_ACTIVATION_RELU: return vm_relu(x);
    case VLM_ACTIVATION_TANH: return vm_tanh(x);
    }
}

/// One row of results `v` (bias added here) into `width` floats of `out`.
VM_INLINE void gt_finish_row(
    const vlm_epilogue epilogue, const vlm_activation activation, const float *v, const float *bias, const float *scale,
    float *out
) {
    if (epilogue == VLM_EPILOGUE_GATED) {
        for (size_t c = 0; c < VLM_PANEL / 2; c += VM_WIDTH) {
            vm_float gate = vm_load(v + c) + vm_load(bias + c);
            vm_float up = vm_load(v + VLM_PANEL / 2 + c) + vm_load(bias + VLM_PANEL / 2 + c);
            vm_store(out + c, gt_activate(activation, gate) * up);
        }
        return;
    }
    // Two vectors at a time hide the latency of an activation and leave room for its constants.
    _Pragma("clang loop unroll_count(2)") for (size_t c = 0; c < VLM_PANEL; c += VM_WIDTH) {
        vm_float value = vm_load(v + c) + vm_load(bias + c);
        if (epilogue == VLM_EPILOGUE_STORE) value = gt_activate(activation, value);
        if (epilogue == VLM_EPILOGUE_ACCUMULATE) value = vm_load(out + c) + value;
        if (epilogue == VLM_EPILOGUE_SCALED_ACCUMULATE) value = VM_FMA(value, vm_load(scale + c), vm_load(out + c));
        vm_store(out + c, value);
    }
}

VM_INLINE void gt_finish_rows(
    const vlm_epilogue epilogue, const vlm_activation activation, const vlm_linear_call *call, const float *tile, size_t rows,
    size_t panel, size_t columns, float *out
) {
    static const float zeros[VLM_PANEL] = {0};
    const size_t width = epilogue == VLM_EPILOGUE_GATED ? VLM_PANEL / 2 : VLM_PANEL;
    const float *bias = call->bias ? call->bias + panel * VLM_PANEL : zeros;
    const float *scale = NULL;
    float scale_part[VLM_PANEL];
    if (epilogue == VLM_EPILOGUE_SCALED_ACCUMULATE) {
        scale = call->scale + panel * VLM_PANEL;
        if (columns < width) {
            memcpy(scale_part, scale, columns * sizeof(float));
            memset(scale_part + columns, 0, (width - columns) * sizeof(float));
            scale = scale_part;
        }
    }
    for (size_t r = 0; r < rows; r++, tile += VLM_PANEL, out += call->out_stride) {
        if (columns == width) {
            gt_finish_row(epilogue, activation, tile, bias, scale, out);
        } else {
            // The last panel: compute all its columns aside and write those that exist.
            float part[VLM_PANEL] = {0};
            memcpy(part, out, columns * sizeof(float));
            gt_finish_row(epilogue, activation, tile, bias, scale, part);
            memcpy(out, part, columns * sizeof(float));
        }
    }
}

VM_TARGET static void gt_finish(
    const vlm_linear_call *call, const float *tile, size_t rows, size_t panel, size_t columns, float *out
) {
#define GT_FINISH(epilogue, activation) \
    gt_finish_rows(VLM_EPILOGUE_##epilogue, VLM_ACTIVATION_##activation, call, tile, rows, panel, columns, out)
#define GT_FINISH_ACTIVATED(epilogue)                                       \
    switch (call->activation) {                                             \
    case VLM_ACTIVATION_NONE: GT_FINISH(epilogue, NONE); break;             \
    case VLM_ACTIVATION_GELU: GT_FINISH(epilogue, GELU); break;             \
    case VLM_ACTIVATION_GELU_TANH: GT_FINISH(epilogue, GELU_TANH); break;   \
    case VLM_ACTIVATION_QUICK_GELU: GT_FINISH(epilogue, QUICK_GELU); break; \
    case VLM_ACTIVATION_SILU: GT_FINISH(epilogue, SILU); break;             \
    case VLM_ACTIVATION_RELU: GT_FINISH(epilogue, RELU); break;             \
    case VLM_ACTIVATION_TANH: GT_FINISH(epilogue, TANH); break;             \
    }
    switch (call->epilogue) {
    case VLM_EPILOGUE_STORE: GT_FINISH_ACTIVATED(STORE) break;
    case VLM_EPILOGUE_ACCUMULATE: GT_FINISH(ACCUMULATE, NONE); break;
    case VLM_EPILOGUE_SCALED_ACCUMULATE: GT_FINISH(SCALED_ACCUMULATE, NONE); break;
    case VLM_EPILOGUE_GATED: GT_FINISH_ACTIVATED(GATED) break;
    }
}

const vlm_gemm_kernels GT_NAME = {
    .tile_rows = GT_ROWS,
    .tile = {
        [VLM_GEMM_F32] = GT_NAMES(F32),
        [VLM_GEMM_BF16_WIDE] = GT_NAMES(BF16_WIDE),
#ifdef GT_DOT
        [VLM_GEMM_BF16_DOT] = GT_NAMES(BF16_DOT),
#endif
    },
    .rows = {
        [VLM_GEMM_F32] = gt_rows_f32,
        [VLM_GEMM_BF16_WIDE] = gt_rows_wide,
#ifdef GT_DOT
        [VLM_GEMM_BF16_DOT] = gt_rows_dot,
#endif
    },
    .finish = gt_finish,
};
