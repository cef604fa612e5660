#if defined(__linux__)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#endif

#include "CImageKernels.h"

void cik_prefer_large_pages(void *start, size_t count) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 4096, large = 2u << 20;
    if (count < 4 * large) return;
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1), past = ((uintptr_t)start + count) & ~(page - 1);
    // Advice only: a refusal changes nothing.
    if (past > first) (void)madvise((void *)first, past - first, MADV_HUGEPAGE);
#else
    (void)start;
    (void)count;
#endif
}
