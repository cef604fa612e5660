// Type conversion and packing for one instruction set. Included by pack.c after it defines PT_TARGET (function attributes) and
// PT(name). The loops are plain: the compiler vectorises them for the target.

/// Half precision to float32, exact.
PT_TARGET static void PT(half_to_float)(const char *from, float *to, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        // The exponent's bias differs by 112; multiplying corrects it and normalises subnormal numbers.
        uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
        float magnitude;
        memcpy(&magnitude, &bits, 4);
        magnitude *= 0x1p112f;
        memcpy(&bits, &magnitude, 4);
        bits |= (half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
        bits |= (uint32_t)(half & 0x8000) << 16;
        memcpy(to + i, &bits, 4);
    }
}

/// bfloat16 to float32, exact.
PT_TARGET static void PT(bfloat_to_float)(const char *from, float *to, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(to + i, &bits, 4);
    }
}

/// float32 to bfloat16, to nearest even; NaN stays NaN.
PT_TARGET static void PT(float_to_bfloat)(const float *from, uint16_t *to, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, 4);
        uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        uint32_t quiet = (bits >> 16) | 0x40;
        to[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
    }
}

/// float32 to half precision, to nearest even.
PT_TARGET static void PT(float_to_half)(const float *from, uint16_t *to, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, 4);
        uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
        // Normal results: move the exponent, round away 13 bits. Too large becomes infinity.
        uint32_t normal = magnitude - (112u << 23);
        normal = (normal + 0xfff + ((normal >> 13) & 1)) >> 13;
        normal = magnitude >= 0x477ff000 ? 0x7c00 : normal;
        // Subnormal results: adding 0.5 leaves units of 2^-24 in the last bits, rounded by the addition.
        float value;
        memcpy(&value, &magnitude, 4);
        value += 0.5f;
        uint32_t small;
        memcpy(&small, &value, 4);
        small -= 0x3f000000;
        uint32_t result = magnitude < 0x38800000 ? small : normal;
        result = magnitude > 0x7f800000 ? 0x7e00 : result;
        to[i] = (uint16_t)(sign | result);
    }
}

PT_TARGET static void PT(to_float)(vlm_source_type type, const char *from, float *to, size_t count) {
    switch (type) {
    case VLM_SOURCE_F32: memcpy(to, from, 4 * count); break;
    case VLM_SOURCE_F16: PT(half_to_float)(from, to, count); break;
    case VLM_SOURCE_BF16: PT(bfloat_to_float)(from, to, count); break;
    }
}

PT_TARGET static void PT(convert)(
    const char *from, vlm_source_type from_type, char *to, vlm_source_type to_type, size_t count
) {
    enum { piece = 512 };
    size_t from_size = from_type == VLM_SOURCE_F32 ? 4 : 2, to_size = to_type == VLM_SOURCE_F32 ? 4 : 2;
    float values[piece];
    uint16_t halves[piece];
    for (size_t i = 0; i < count; i += piece) {
        size_t n = count - i < piece ? count - i : piece;
        PT(to_float)(from_type, from + i * from_size, values, n);
        if (to_type == VLM_SOURCE_F32) {
            memcpy(to + i * 4, values, n * 4);
            continue;
        }
        if (to_type == VLM_SOURCE_BF16) PT(float_to_bfloat)(values, halves, n);
        else PT(float_to_half)(values, halves, n);
        memcpy(to + i * to_size, halves, n * to_size);
    }
}

/// Packs one panel. `rows` are the 32 source rows, NULL for padding.
PT_TARGET static void PT(pack_panel)(
    bool bf16, const char *const *rows, const vlm_source_type *types, size_t in_features, uint32_t *panel
) {
    // A block of `piece` words of each row is converted, then turned: rows become columns.
    enum { piece = 64 };
    uint32_t block[VLM_PANEL][piece];
    size_t per_word = bf16 ? 2 : 1;
    size_t steps = (in_features + per_word - 1) / per_word;
    for (size_t step = 0; step < steps; step += piece) {
        size_t words = steps - step < piece ? steps - step : piece;
        size_t k = step * per_word;
        size_t count = in_features - k < words * per_word ? in_features - k : words * per_word;
        for (size_t r = 0; r < VLM_PANEL; r++) {
            if (count < piece * per_word || !rows[r]) memset(block[r], 0, sizeof block[r]);
            if (!rows[r]) continue;
            size_t size = types[r] == VLM_SOURCE_F32 ? 4 : 2;
            const char *from = rows[r] + k * size;
            if (!bf16) {
                PT(to_float)(types[r], from, (float *)block[r], count);
            } else if (types[r] == VLM_SOURCE_BF16) {
                memcpy(block[r], from, 2 * count);
            } else {
                float values[2 * piece];
                PT(to_float)(types[r], from, values, count);
                PT(float_to_bfloat)(values, (uint16_t *)block[r], count);
            }
        }
        for (size_t s = 0; s < words; s += 4) {
            for (size_t r = 0; r < VLM_PANEL; r += 4) {
                word4 a = *(const word4 *)&block[r][s], b = *(const word4 *)&block[r + 1][s];
                word4 c = *(const word4 *)&block[r + 2][s], d = *(const word4 *)&block[r + 3][s];
                word4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
                word4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
                word4 turned[4] = {
                    __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                    __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                    __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
                size_t left = words - s < 4 ? words - s : 4;
                for (size_t i = 0; i < left; i++) *(word4 *)&panel[(step + s + i) * VLM_PANEL + r] = turned[i];
            }
        }
    }
}
