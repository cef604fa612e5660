#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

// Compressed text and profiles beside the pixels may not unpack to more than this.
#define CIMAGE_PNG_MAX_CHUNK (8u << 20)

typedef struct {
    const uint8_t *data;
    size_t count;
    size_t offset;
    jmp_buf escape;
    cimage_result result;
} png_state;

static void fail(png_structp png, png_const_charp message) {
    png_state *state = png_get_error_ptr(png);
    if (state->result.status == CIMAGE_OK) state->result = cimage_failure(CIMAGE_CORRUPT, message);
    longjmp(state->escape, 1);
}

static void ignore_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep target, size_t wanted) {
    png_state *state = png_get_io_ptr(png);
    if (state->count - state->offset < wanted) {
        state->result = cimage_failure(CIMAGE_TRUNCATED, "the PNG data ends early");
        longjmp(state->escape, 1);
    }
    memcpy(target, state->data + state->offset, wanted);
    state->offset += wanted;
}

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

cimage_result cimage_png_header(const uint8_t *data, size_t count, cimage_header *header) {
    // Signature, then IHDR: length, name, width, height, depth, colour type, ...
    if (count < 33) return cimage_failure(CIMAGE_TRUNCATED, "the PNG header is incomplete");
    if (memcmp(data + 12, "IHDR", 4) != 0) return cimage_failure(CIMAGE_CORRUPT, "the PNG does not start with IHDR");
    header->width = big_endian(data + 16);
    header->height = big_endian(data + 20);
    header->channels = (data[25] & 2 ? 3 : 1) + (data[25] & 4 ? 1 : 0);
    header->animated = 0;
    if (header->width == 0 || header->height == 0) return cimage_failure(CIMAGE_CORRUPT, "the PNG has no pixels");
    return cimage_success();
}

static void copy_blob(cimage_blob *blob, const void *bytes, size_t count) {
    if (blob->bytes || count == 0) return;
    blob->bytes = malloc(count);
    if (!blob->bytes) return;
    memcpy(blob->bytes, bytes, count);
    blob->count = count;
}

static void collect_metadata(png_structp png, png_infop info, cimage_blob *exif, cimage_blob *raw_exif, cimage_blob *xmp) {
    png_uint_32 exif_count = 0;
    png_bytep exif_bytes = NULL;
    if (png_get_eXIf_1(png, info, &exif_count, &exif_bytes)) copy_blob(exif, exif_bytes, exif_count);
    png_textp texts = NULL;
    int text_count = 0;
    png_get_text(png, info, &texts, &text_count);
    for (int i = 0; i < text_count; i++) {
        size_t length = texts[i].text_length ? texts[i].text_length : texts[i].itxt_length;
        if (!texts[i].key || !texts[i].text) continue;
        if (strcmp(texts[i].key, "Raw profile type exif") == 0) copy_blob(raw_exif, texts[i].text, length);
        if (strcmp(texts[i].key, "XML:com.adobe.xmp") == 0) copy_blob(xmp, texts[i].text, length);
    }
}

typedef struct {
    int gray16;
    int gray;
    int palette;
    uint8_t colors[256][3];  // black past the palette's end
} png_layout;

// One decoded row, as the transformations leave it, to packed RGB.
static void expand_row(const png_layout *layout, const uint8_t *row, uint8_t *rgb, uint32_t width) {
    if (layout->palette) {
        for (uint32_t x = 0; x < width; x++) memcpy(rgb + 3 * (size_t)x, layout->colors[row[x]], 3);
    } else if (layout->gray16 || layout->gray) {
        for (uint32_t x = 0; x < width; x++) {
            uint8_t value = layout->gray ? row[x] : row[2 * (size_t)x] ? 255 : row[2 * (size_t)x + 1];
            memset(rgb + 3 * (size_t)x, value, 3);
        }
    } else {
        memcpy(rgb, row, (size_t)width * 3);
    }
}

cimage_result cimage_png_decode(
    const uint8_t *data, size_t count, uint8_t *rgb, uint32_t width, uint32_t height, cimage_blob *exif,
    cimage_blob *raw_exif, cimage_blob *xmp) {
    png_state state = {.data = data, .count = count};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, fail, ignore_warning);
    if (!png) return cimage_failure(CIMAGE_OUT_OF_MEMORY, "libpng could not start");
    // What the error path touches after longjmp is volatile, so that it is the last value and not a register's.
    uint8_t *volatile raw = NULL;
    png_bytep *volatile rows = NULL;
    volatile int pixels_done = 0;
    png_infop info = png_create_info_struct(png);
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        return cimage_failure(CIMAGE_OUT_OF_MEMORY, "libpng could not start");
    }
    if (setjmp(state.escape)) {
        // Damage after the last pixel (a missing IEND, a broken text) does not spoil the picture.
        if (pixels_done) {
            collect_metadata(png, info, exif, raw_exif, xmp);
            state.result = cimage_success();
        }
        goto done;
    }
    png_set_read_fn(png, &state, read_bytes);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_malloc_max(png, CIMAGE_PNG_MAX_CHUNK);
    png_read_info(png, info);
    if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height) {
        png_error(png, "the PNG's size changed between two readings");
    }

    int depth = png_get_bit_depth(png, info);
    int color = png_get_color_type(png, info);
    png_layout layout;
    memset(&layout, 0, sizeof layout);
    if (color == PNG_COLOR_TYPE_PALETTE) {
        layout.palette = 1;
        png_colorp colors = NULL;
        int color_count = 0;
        png_get_PLTE(png, info, &colors, &color_count);
        for (int i = 0; i < color_count && i < 256; i++) {
            layout.colors[i][0] = colors[i].red;
            layout.colors[i][1] = colors[i].green;
            layout.colors[i][2] = colors[i].blue;
        }
        png_set_packing(png);
    } else if (color == PNG_COLOR_TYPE_GRAY) {
        layout.gray16 = depth == 16;
        layout.gray = depth <= 8;
        if (depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    } else {
        layout.gray = !(color & PNG_COLOR_MASK_COLOR);
        if (depth == 16) png_set_strip_16(png);
        if (color & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
    }
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t row_bytes = png_get_rowbytes(png, info);
    size_t expected = (size_t)width * (layout.palette || layout.gray ? 1 : layout.gray16 ? 2 : 3);
    if (row_bytes != expected) png_error(png, "libpng laid the rows out unexpectedly");

    if (passes == 1) {
        raw = malloc(row_bytes);
        if (!raw) goto out_of_memory;
        for (uint32_t y = 0; y < height; y++) {
            png_read_row(png, raw, NULL);
            expand_row(&layout, raw, rgb + (size_t)y * width * 3, width);
        }
    } else {
        // Interlaced rows are completed pass by pass, so all of them are kept.
        raw = calloc(height, row_bytes);
        rows = malloc((size_t)height * sizeof *rows);
        if (!raw || !rows) goto out_of_memory;
        for (uint32_t y = 0; y < height; y++) rows[y] = raw + y * row_bytes;
        png_read_image(png, rows);
        for (uint32_t y = 0; y < height; y++) expand_row(&layout, rows[y], rgb + (size_t)y * width * 3, width);
    }
    pixels_done = 1;
    png_read_end(png, info);
    collect_metadata(png, info, exif, raw_exif, xmp);
    goto done;

out_of_memory:
    state.result = cimage_failure(CIMAGE_OUT_OF_MEMORY, "no memory for the PNG's rows");
done:
    free(raw);
    free((void *)rows);
    png_destroy_read_struct(&png, &info, NULL);
    return state.result;
}
