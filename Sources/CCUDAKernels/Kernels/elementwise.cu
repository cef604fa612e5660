// Kernels bound by memory: one pass over their operands, 16 bytes a thread where rows are aligned.
#include "ptx.cuh"
