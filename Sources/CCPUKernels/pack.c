// Conversion of checkpoint types and packing of weights into panels (see vlm_cpu_gemm.h).

#include "gemm_internal.h"

#include <string.h>

typedef uint32_t word4 __attribute__((vector_size(16), aligned(4)));

#define PT_TARGET
#define PT(name) name##_base
#include "pack_template.h"
#undef PT_TARGET
#undef PT

#if defined(__x86_64__)
#define PT_TARGET __attribute__((target("avx2,fma,f16c")))
#define PT(name) name##_avx2
#include "pack_template.h"
#undef PT_TARGET
#undef PT

#define PT_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define PT(name) name##_avx512
#include "pack_template.h"
#undef PT_TARGET
#undef PT
#endif

void vlm_pack_panels(
    vlm_isa isa, bool bf16, bool gate_up, const vlm_pack_source *sources, size_t source_count, size_t in_features,
    size_t first, size_t count, void *packed
) {
    size_t panel_bytes = vlm_packed_bytes(bf16, 1, in_features);
    for (size_t panel = first; panel < first + count; panel++) {
        const char *rows[VLM_PANEL];
        vlm_source_type types[VLM_PANEL];
        for (size_t r = 0; r < VLM_PANEL; r++) {
            size_t source = 0, row;
            if (gate_up) {
                source = r / (VLM_PANEL / 2);
                row = panel * (VLM_PANEL / 2) + r % (VLM_PANEL / 2);
            } else {
                row = panel * VLM_PANEL + r;
                while (source < source_count && row >= sources[source].rows) row -= sources[source++].rows;
            }
            bool exists = source < source_count && row < sources[source].rows;
            types[r] = exists ? sources[source].type : VLM_SOURCE_F32;
            size_t size = types[r] == VLM_SOURCE_F32 ? 4 : 2;
            rows[r] = exists ? (const char *)sources[source].data + row * in_features * size : NULL;
        }
        uint32_t *to = (uint32_t *)((char *)packed + panel * panel_bytes);
        switch (isa) {
#if defined(__x86_64__)
        case VLM_ISA_AVX2: pack_panel_avx2(bf16, rows, types, in_features, to); break;
        case VLM_ISA_AVX512:
        case VLM_ISA_AVX512_BF16: pack_panel_avx512(bf16, rows, types, in_features, to); break;
#endif
        default: pack_panel_base(bf16, rows, types, in_features, to); break;
        }
    }
}

void vlm_convert(vlm_isa isa, const void *source, vlm_source_type from, void *destination, vlm_source_type to, size_t count) {
    size_t size = from == VLM_SOURCE_F32 ? 4 : 2;
    if (from == to) {
        memcpy(destination, source, count * size);
        return;
    }
    switch (isa) {
#if defined(__x86_64__)
    case VLM_ISA_AVX2: convert_avx2(source, from, destination, to, count); break;
    case VLM_ISA_AVX512:
    case VLM_ISA_AVX512_BF16: convert_avx512(source, from, destination, to, count); break;
#endif
    default: convert_base(source, from, destination, to, count); break;
    }
}
