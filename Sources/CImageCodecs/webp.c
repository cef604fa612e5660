#include <webp/decode.h>

#include "result.h"

static cimage_result result_of(VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_OK: return cimage_success();
    case VP8_STATUS_OUT_OF_MEMORY: return cimage_failure(CIMAGE_OUT_OF_MEMORY, "no memory for the WebP");
    case VP8_STATUS_UNSUPPORTED_FEATURE: return cimage_failure(CIMAGE_UNSUPPORTED, "the WebP uses an unsupported feature");
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return cimage_failure(CIMAGE_TRUNCATED, "the WebP data ends early");
    default: return cimage_failure(CIMAGE_CORRUPT, "the WebP data is damaged");
    }
}

cimage_result cimage_webp_header(const uint8_t *data, size_t count, cimage_header *header) {
    WebPBitstreamFeatures features;
    VP8StatusCode code = WebPGetFeatures(data, count, &features);
    if (code != VP8_STATUS_OK) return result_of(code);
    header->width = (uint32_t)features.width;
    header->height = (uint32_t)features.height;
    header->channels = features.has_alpha ? 4 : 3;
    header->animated = features.has_animation;
    return cimage_success();
}

cimage_result cimage_webp_decode(const uint8_t *data, size_t count, uint8_t *rgb, uint32_t width, uint32_t height) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) return cimage_failure(CIMAGE_UNSUPPORTED, "libwebp has another version");
    VP8StatusCode code = WebPGetFeatures(data, count, &config.input);
    if (code != VP8_STATUS_OK) return result_of(code);
    if ((uint32_t)config.input.width != width || (uint32_t)config.input.height != height) {
        return cimage_failure(CIMAGE_CORRUPT, "the WebP's size changed between two readings");
    }
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgb;
    config.output.u.RGBA.stride = (int)(width * 3);
    config.output.u.RGBA.size = (size_t)width * height * 3;
    code = WebPDecode(data, count, &config);
    WebPFreeDecBuffer(&config.output);
    return result_of(code);
}
