#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif

#include "vlm_cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

/// Register state the operating system saves on a context switch (XCR0); zero when it saves none.
static uint64_t saved_state(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}
#endif

bool vlm_isa_available(vlm_isa isa) {
    if (isa == VLM_ISA_SCALAR) return true;
#if defined(__aarch64__)
    return isa == VLM_ISA_NEON;
#elif defined(__x86_64__)
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    bool fma = c & (1u << 12), f16c = c & (1u << 29);
    unsigned b7, c7, d7;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return false;
    uint64_t state = saved_state();
    bool ymm = (state & 0x6) == 0x6;
    bool zmm = (state & 0xe6) == 0xe6;
    bool avx2 = ymm && fma && f16c && (b7 & (1u << 5));
    // F, DQ, BW, VL: every server processor with AVX-512 has these four.
    unsigned needed = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
    bool avx512 = avx2 && zmm && (b7 & needed) == needed;
    switch (isa) {
    case VLM_ISA_AVX2: return avx2;
    case VLM_ISA_AVX512: return avx512;
    case VLM_ISA_AVX512_BF16: {
        bool vnni = c7 & (1u << 11);
        unsigned a71;
        return avx512 && vnni && __get_cpuid_count(7, 1, &a71, &b, &c, &d) && (a71 & (1u << 5));
    }
    default: return false;
    }
#else
    return false;
#endif
}

vlm_isa vlm_isa_best(void) {
    static const vlm_isa order[] = {VLM_ISA_AVX512_BF16, VLM_ISA_AVX512, VLM_ISA_AVX2, VLM_ISA_NEON};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (vlm_isa_available(order[i])) return order[i];
    return VLM_ISA_SCALAR;
}

#if defined(__linux__)
/// Whole cores of a "quota period" pair, rounded up; 0 when there is no limit.
static int quota_cores(double quota, double period) {
    if (quota <= 0 || period <= 0) return 0;
    int cores = (int)((quota + period - 1) / period);
    return cores < 1 ? 1 : cores;
}

/// The CPU quota in one control-group folder, version 2 or 1; 0 for none.
static int quota_in(const char *folder) {
    char path[4224];
    double quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *file = fopen(path, "r");
    if (file) {
        int got = fscanf(file, "%lf %lf", &quota, &period);  // "max 100000" reads no number: no limit
        fclose(file);
        return got == 2 ? quota_cores(quota, period) : 0;
    }
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!(file = fopen(path, "r"))) return 0;
    int got = fscanf(file, "%lf", &quota);
    fclose(file);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (got != 1 || !(file = fopen(path, "r"))) return 0;
    got = fscanf(file, "%lf", &period);
    fclose(file);
    return got == 1 ? quota_cores(quota, period) : 0;
}

static int tighter(int limit, int found) { return found > 0 && (limit == 0 || found < limit) ? found : limit; }

/// The tightest quota among this process's control groups and their parents; 0 for none.
static int quota_limit(void) {
    int limit = tighter(quota_in("/sys/fs/cgroup"), quota_in("/sys/fs/cgroup/cpu"));
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return limit;
    char line[4096];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        bool version2 = controllers[1] == 0;
        if (!version2 && !strstr(controllers + 1, "cpu")) continue;
        while (strlen(group) > 1) {
            char folder[4160];
            snprintf(folder, sizeof folder, "%s%s", version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", group);
            limit = tighter(limit, quota_in(folder));
            char *slash = strrchr(group, '/');
            if (!slash) break;
            *slash = 0;
        }
    }
    fclose(file);
    return limit;
}
#endif

int vlm_usable_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    // Fails on machines with more processors than the set holds; then all that are online count.
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) cores = CPU_COUNT(&set);
    int limit = quota_limit();
    if (limit > 0 && limit < cores) cores = limit;
#endif
    return cores < 1 ? 1 : (int)cores;
}

double vlm_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
