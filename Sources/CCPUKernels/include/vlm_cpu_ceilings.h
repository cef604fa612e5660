// Short loops that show what the machine can do: the numbers kernels are compared with.
#ifndef VLM_CPU_CEILINGS_H
#define VLM_CPU_CEILINGS_H

#include "vlm_cpu_gemm.h"

/// Runs `rounds` rounds of independent multiply-adds on registers, as kernels of `kind` at `isa` issue them, and returns the
/// floating-point operations done (a multiply-add is two).
double vlm_ceiling_multiply(vlm_isa isa, vlm_gemm_kind kind, size_t rounds);

/// Reads `bytes` (a multiple of 256) front to back with the widest loads of `isa`. The result depends on all of them.
uint64_t vlm_ceiling_read(vlm_isa isa, const void *from, size_t bytes);

#endif
