#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

// jpeglib.h needs stdio.h and stddef.h before it.
#include <stddef.h>
#include <stdio.h>

#include <jerror.h>
#include <jpeglib.h>

#include "result.h"

// A progressive file may hold any number of scans over the same pixels; each costs a full pass. Encoders write about ten.
#define CIMAGE_JPEG_MAX_SCANS 200
#define CIMAGE_JPEG_COMMON_SCANS 20
#define CIMAGE_JPEG_MAX_PASSED_PIXELS 2000000000ull

typedef struct {
    struct jpeg_error_mgr base;  // first, so that the library's pointer converts back
    jmp_buf escape;
    cimage_status status;
    char message[JMSG_LENGTH_MAX];
} jpeg_errors;

static void fail(j_common_ptr info, cimage_status status, const char *message) {
    jpeg_errors *errors = (jpeg_errors *)info->err;
    errors->status = status;
    if (message) {
        snprintf(errors->message, sizeof errors->message, "%s", message);
    } else {
        errors->base.format_message(info, errors->message);
    }
    longjmp(errors->escape, 1);
}

static void error_exit(j_common_ptr info) {
    cimage_status status = CIMAGE_CORRUPT;
    switch (info->err->msg_code) {
    case JERR_OUT_OF_MEMORY: status = CIMAGE_OUT_OF_MEMORY; break;
    case JERR_INPUT_EOF:
    case JERR_INPUT_EMPTY: status = CIMAGE_TRUNCATED; break;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_NOT_COMPILED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_SOF_UNSUPPORTED: status = CIMAGE_UNSUPPORTED; break;
    default: break;
    }
    fail(info, status, NULL);
}

// libjpeg turns the end of its input into a warning and a gray picture; here it is an error. Other warnings concern damage
// that every viewer tolerates, and pass.
static void emit_message(j_common_ptr info, int level) {
    if (level >= 0) return;
    if (info->err->msg_code == JWRN_JPEG_EOF) fail(info, CIMAGE_TRUNCATED, "the JPEG data ends early");
    info->err->num_warnings++;
}

static void output_message(j_common_ptr info) { (void)info; }

static void watch_scans(j_common_ptr info) {
    if (!info->is_decompressor) return;
    j_decompress_ptr picture = (j_decompress_ptr)info;
    int scans = picture->input_scan_number;
    unsigned long long passed = (unsigned long long)scans * picture->image_width * picture->image_height;
    if (scans > CIMAGE_JPEG_MAX_SCANS || (scans > CIMAGE_JPEG_COMMON_SCANS && passed > CIMAGE_JPEG_MAX_PASSED_PIXELS)) {
        fail(info, CIMAGE_UNSUPPORTED, "the JPEG has an unreasonable number of scans");
    }
}

static void install(struct jpeg_decompress_struct *info, jpeg_errors *errors) {
    memset(info, 0, sizeof *info);
    memset(errors, 0, sizeof *errors);
    info->err = jpeg_std_error(&errors->base);
    errors->base.error_exit = error_exit;
    errors->base.emit_message = emit_message;
    errors->base.output_message = output_message;
}

static cimage_result finish(struct jpeg_decompress_struct *info, jpeg_errors *errors) {
    cimage_result result = cimage_failure(errors->status, errors->message);
    jpeg_destroy_decompress(info);
    return result;
}

static void check_header(struct jpeg_decompress_struct *info) {
    int channels = info->num_components;
    if (channels != 1 && channels != 3 && channels != 4) {
        fail((j_common_ptr)info, CIMAGE_UNSUPPORTED, "the JPEG has neither one, three nor four channels");
    }
}

cimage_result cimage_jpeg_header(const uint8_t *data, size_t count, cimage_header *header) {
    struct jpeg_decompress_struct info;
    jpeg_errors errors;
    install(&info, &errors);
    if (setjmp(errors.escape)) return finish(&info, &errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, data, (unsigned long)count);
    jpeg_read_header(&info, TRUE);
    check_header(&info);
    header->width = info.image_width;
    header->height = info.image_height;
    header->channels = (uint32_t)info.num_components;
    header->animated = 0;
    jpeg_destroy_decompress(&info);
    return cimage_success();
}

// a * b / 255, rounded; exact for 8-bit a and b.
static inline unsigned scaled(unsigned a, unsigned b) {
    unsigned product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

// `cmyk` is inverted as stored: 255 is no ink.
static void rgb_from_inverted_cmyk(const uint8_t *cmyk, uint8_t *rgb, uint32_t width) {
    for (uint32_t x = 0; x < width; x++) {
        unsigned white = cmyk[4 * x + 3];
        for (int channel = 0; channel < 3; channel++) {
            rgb[3 * x + channel] = (uint8_t)(white - scaled(255u - cmyk[4 * x + channel], white));
        }
    }
}

cimage_result cimage_jpeg_decode(const uint8_t *data, size_t count, uint8_t *rgb, uint32_t width, uint32_t height) {
    struct jpeg_decompress_struct info;
    struct jpeg_progress_mgr progress;
    jpeg_errors errors;
    install(&info, &errors);
    if (setjmp(errors.escape)) return finish(&info, &errors);
    jpeg_create_decompress(&info);
    memset(&progress, 0, sizeof progress);
    progress.progress_monitor = watch_scans;
    info.progress = &progress;
    jpeg_mem_src(&info, data, (unsigned long)count);
    jpeg_read_header(&info, TRUE);
    check_header(&info);
    if (info.image_width != width || info.image_height != height) {
        fail((j_common_ptr)&info, CIMAGE_CORRUPT, "the JPEG's size changed between two readings");
    }
    int cmyk = info.num_components == 4;
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info);
    size_t stride = (size_t)width * 3;
    JSAMPARRAY row = NULL;
    if (cmyk) row = info.mem->alloc_sarray((j_common_ptr)&info, JPOOL_IMAGE, width * 4, 1);
    while (info.output_scanline < height) {
        uint8_t *target = rgb + stride * info.output_scanline;
        if (cmyk) {
            jpeg_read_scanlines(&info, row, 1);
            rgb_from_inverted_cmyk(row[0], target, width);
        } else {
            JSAMPROW rows[8];
            uint32_t wanted = height - info.output_scanline;
            if (wanted > 8) wanted = 8;
            for (uint32_t i = 0; i < wanted; i++) rows[i] = target + stride * i;
            jpeg_read_scanlines(&info, rows, wanted);
        }
    }
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return cimage_success();
}
