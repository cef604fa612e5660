// Compiles the kernels of the file named by BODY once per instruction set, each under the attributes that let the compiler
// use it. A body names its functions ISA(name) and computes on vectors of W floats (vector.h); X86_LEVEL tells where
// intrinsics pay: 0 portable (on 64-bit ARM, vectors of four floats are Advanced SIMD), 2 AVX2 with FMA, 3 AVX-512.

#define ISA(name) name##_portable
#define W 4
#define X86_LEVEL 0
#include BODY
#undef ISA
#undef W
#undef X86_LEVEL

#if defined(__x86_64__)

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define ISA(name) name##_avx2
#define W 8
#define X86_LEVEL 2
#include BODY
#undef ISA
#undef W
#undef X86_LEVEL
#pragma clang attribute pop

#pragma clang attribute push( \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#define ISA(name) name##_avx512
#define W 16
#define X86_LEVEL 3
#include BODY
#undef ISA
#undef W
#undef X86_LEVEL
#pragma clang attribute pop

#endif

// Calls the version of `function` for `isa`.
#if defined(__x86_64__)
#define DISPATCH(isa, function, ...) \
    do { \
        if ((isa) == VLM_ISA_AVX512 || (isa) == VLM_ISA_AVX512_BF16) \
            function##_avx512(__VA_ARGS__); \
        else if ((isa) == VLM_ISA_AVX2) \
            function##_avx2(__VA_ARGS__); \
        else \
            function##_portable(__VA_ARGS__); \
    } while (0)
#else
#define DISPATCH(isa, function, ...) function##_portable(__VA_ARGS__)
#endif
