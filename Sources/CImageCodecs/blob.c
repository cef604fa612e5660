#include <stdlib.h>

#include "CImageCodecs.h"

void cimage_release(cimage_blob *blob) {
    free(blob->bytes);
    blob->bytes = NULL;
    blob->count = 0;
}
