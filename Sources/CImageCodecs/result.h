// Building results; shared by the codec files.
#ifndef CIMAGE_RESULT_H
#define CIMAGE_RESULT_H

#include <stdio.h>

#include "CImageCodecs.h"

static inline cimage_result cimage_success(void) {
    cimage_result result = {CIMAGE_OK, {0}};
    return result;
}

static inline cimage_result cimage_failure(cimage_status status, const char *message) {
    cimage_result result = {status, {0}};
    snprintf(result.message, sizeof result.message, "%s", message);
    return result;
}

#endif
