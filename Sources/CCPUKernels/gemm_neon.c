// Matrix multiplication for 64-bit ARM: 32 registers of four floats.

#if defined(__aarch64__)
#define GT_NAME vlm_gemm_neon
#define VM_TARGET
#define VM_WIDTH 4
#define VM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#define GT_ROWS 6
#define GT_VECTORS 4
#define GT_REGISTERS 16
#include "gemm_template.h"
#endif
