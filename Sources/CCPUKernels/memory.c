#include "vlm_cpu.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

void vlm_return_free_memory(void) {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}
