// The loops of vlm_cpu_ceilings.h for one instruction set; CT(name), VM_TARGET, VM_WIDTH, VM_FMA and CT_CHAINS are defined by the
// including file. CT_CHAINS independent accumulators hide the latency of the multiply-add.

typedef float CT(floats) __attribute__((vector_size(4 * VM_WIDTH), aligned(4)));
typedef uint32_t CT(words) __attribute__((vector_size(4 * VM_WIDTH), aligned(4)));

/// Hides a register's value from the compiler, so that it neither merges nor removes the chains.
#if defined(__x86_64__)
#define CT_OPAQUE(value) __asm__ volatile("" : "+v"(value))
#else
#define CT_OPAQUE(value) __asm__ volatile("" : "+w"(value))
#endif

VM_TARGET static double CT(multiply)(size_t rounds) {
    CT(floats) acc[CT_CHAINS], x = {0}, y = {0};
    CT_OPAQUE(x);
    CT_OPAQUE(y);
    for (int i = 0; i < CT_CHAINS; i++) {
        acc[i] = x;
        CT_OPAQUE(acc[i]);
    }
    for (size_t round = 0; round < rounds; round++) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < CT_CHAINS; i++) acc[i] = VM_FMA(x, y, acc[i]);
        CT_OPAQUE(x);
    }
    for (int i = 0; i < CT_CHAINS; i++) CT_OPAQUE(acc[i]);
    return 2.0 * VM_WIDTH * CT_CHAINS * (double)rounds;
}

VM_TARGET static uint64_t CT(read)(const void *from, size_t bytes) {
    CT(words) sum[4] = {{0}};
    const CT(words) *next = from;
    for (size_t left = bytes / (4 * sizeof sum[0]); left > 0; left--, next += 4) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) {
            sum[i] ^= next[i];
            __builtin_prefetch((const char *)(next + i) + 8192, 0, 3);
        }
    }
    sum[0] ^= sum[1] ^ sum[2] ^ sum[3];
    uint64_t result = 0;
    for (int i = 0; i < VM_WIDTH; i++) result = result * 31 + sum[0][i];
    return result;
}

#undef CT_OPAQUE
