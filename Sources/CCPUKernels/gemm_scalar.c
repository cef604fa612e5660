// Matrix multiplication in portable C: vectors of four floats, which compilers for any processor can lower.

#define GT_NAME vlm_gemm_scalar
#define VM_TARGET
#define VM_WIDTH 4
#define VM_FMA(a, b, c) ((a) * (b) + (c))
#define GT_ROWS 4
#define GT_VECTORS 2
#define GT_REGISTERS 8
#include "gemm_template.h"
