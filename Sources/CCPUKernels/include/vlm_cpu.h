// What every kernel file shares: instruction-set levels, the machine's cores, and the thread pool.
#ifndef VLM_CPU_H
#define VLM_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Instruction sets that kernels are written for. A kernel takes the level as an argument and no state is kept here, so a
/// test can run every level the machine has side by side.
typedef enum vlm_isa {
    /// Portable C.
    VLM_ISA_SCALAR = 0,
    /// x86-64 with AVX2, FMA and F16C.
    VLM_ISA_AVX2 = 1,
    /// AVX-512 F, BW, DQ and VL, on top of AVX2's.
    VLM_ISA_AVX512 = 2,
    /// AVX-512 with BF16 and VNNI.
    VLM_ISA_AVX512_BF16 = 3,
    /// 64-bit ARM with Advanced SIMD.
    VLM_ISA_NEON = 4,
} vlm_isa;

/// Whether this processor and its operating system can run kernels of a level.
bool vlm_isa_available(vlm_isa isa);

/// The fastest level available.
vlm_isa vlm_isa_best(void);

/// Gives memory that was freed back to the operating system, where the C library keeps it for later.
void vlm_return_free_memory(void);

/// Cores this process may use: the affinity mask, cut down to the control group's CPU quota, at least 1.
int vlm_usable_cores(void);

/// The tightest CPU quota, in whole cores rounded up, among the control groups that `membership` (in the form of
/// /proc/self/cgroup) names, their parents and the root, in the file system at `mount`, versions 1 and 2; 0 when there is none.
int vlm_quota_cores(const char *mount, const char *membership);

/// One unit of parallel work. `index` counts work units; `worker` is in `0 ..< threads` and no two calls running at the same
/// time share it, so it selects scratch memory.
typedef void (*vlm_task)(void *context, size_t index, size_t worker);

/// Threads that sleep until there is work. See pool.c.
typedef struct vlm_pool vlm_pool;

/// A pool of `threads` threads, the calling one counted. Returns NULL when the system refuses a thread or memory.
vlm_pool *vlm_pool_create(int threads);

/// Stops and joins the threads.
void vlm_pool_destroy(vlm_pool *pool);

/// Runs `task` for every index below `count`, on all threads, and returns when all have finished. Units are handed out one by
/// one, so uneven ones balance. Allocates nothing. Returns false, having run nothing, when the pool is already running
/// something: one thread drives a pool and tasks do not nest.
bool vlm_pool_run(vlm_pool *pool, size_t count, vlm_task task, void *context);

/// Monotonic time in seconds.
double vlm_seconds(void);

#endif
