// Thin, stateless glue over libjpeg(-turbo), libpng and libwebp.
//
// Every function returns a status and fills a message; none keeps global state, prints, or exits. Headers are read apart
// from pixels, so that the caller can check sizes before it allocates. Output is always packed RGB, 8 bits a channel.
#ifndef CIMAGE_CODECS_H
#define CIMAGE_CODECS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CIMAGE_MESSAGE_SIZE 200

typedef enum {
    CIMAGE_OK = 0,
    CIMAGE_TRUNCATED = 1,      // the data ends before the picture does
    CIMAGE_CORRUPT = 2,        // the data contradicts its format
    CIMAGE_UNSUPPORTED = 3,    // valid, but a variant that is not decoded
    CIMAGE_OUT_OF_MEMORY = 4,
} cimage_status;

/// A result: a status and, unless it is CIMAGE_OK, a short English reason.
typedef struct {
    cimage_status status;
    char message[CIMAGE_MESSAGE_SIZE];
} cimage_result;

/// What a header says of a picture.
typedef struct {
    uint32_t width;
    uint32_t height;
    uint32_t channels;
    int animated;
} cimage_header;

/// Bytes that a decoder found beside the pixels; release with `cimage_release`.
typedef struct {
    uint8_t *bytes;
    size_t count;
} cimage_blob;

cimage_result cimage_jpeg_header(const uint8_t *data, size_t count, cimage_header *header);

/// Decodes into `rgb`, which holds width * height * 3 bytes for the sizes that the header gave. CMYK and YCCK are taken as
/// inverted (Adobe's convention) and converted with 8-bit arithmetic, as Pillow does.
cimage_result cimage_jpeg_decode(const uint8_t *data, size_t count, uint8_t *rgb, uint32_t width, uint32_t height);

cimage_result cimage_png_header(const uint8_t *data, size_t count, cimage_header *header);

/// Decodes into `rgb`. Alpha is dropped, palettes are expanded (an index past the palette is black), 16-bit gray is clipped
/// to 255 and other 16-bit samples keep their high byte, as Pillow does. `exif` (an eXIf chunk), `raw_exif` (the hexadecimal
/// "Raw profile type exif" text) and `xmp` receive copies where the file has them, also on a later failure; release all three.
cimage_result cimage_png_decode(
    const uint8_t *data, size_t count, uint8_t *rgb, uint32_t width, uint32_t height, cimage_blob *exif,
    cimage_blob *raw_exif, cimage_blob *xmp);

cimage_result cimage_webp_header(const uint8_t *data, size_t count, cimage_header *header);

/// Decodes a still picture into `rgb`; alpha is dropped.
cimage_result cimage_webp_decode(const uint8_t *data, size_t count, uint8_t *rgb, uint32_t width, uint32_t height);

void cimage_release(cimage_blob *blob);

#ifdef __cplusplus
}
#endif

#endif
