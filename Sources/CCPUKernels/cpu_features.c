#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif

#include "vlm_cpu.h"

#include <stdio.h>
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

/// Whole cores of a quota and its period, rounded up; 0 when there is no limit.
static int whole_cores(double quota, double period) {
    if (quota <= 0 || period <= 0) return 0;
    double cores = quota / period;
    return cores >= 1e6 ? 0 : (int)cores + (cores > (int)cores);
}

/// Reads up to two numbers at the start of a file; returns how many there were.
static int read_numbers(const char *folder, const char *name, double *first, double *second) {
    char path[4352];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int count = fscanf(file, "%lf %lf", first, second);
    fclose(file);
    return count < 0 ? 0 : count;
}

/// The CPU quota of one control group; 0 for none. "max 100000" starts with no number: no limit.
static int group_cores(const char *folder) {
    double quota = 0, period = 0, unused;
    if (read_numbers(folder, "cpu.max", &quota, &period) == 2) return whole_cores(quota, period);
    if (read_numbers(folder, "cpu.cfs_quota_us", &quota, &unused) && read_numbers(folder, "cpu.cfs_period_us", &period, &unused))
        return whole_cores(quota, period);
    return 0;
}

static int tighter(int limit, int found) { return found > 0 && (limit == 0 || found < limit) ? found : limit; }

int vlm_quota_cores(const char *mount, const char *membership) {
    char folder[4224], line[4096];
    int limit = group_cores(mount);
    snprintf(folder, sizeof folder, "%s/cpu", mount);
    limit = tighter(limit, group_cores(folder));
    FILE *file = fopen(membership, "r");
    if (!file) return limit;
    while (fgets(line, sizeof line, file)) {
        // hierarchy:controllers:path, the controllers empty in version 2
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        bool version2 = controllers[1] == 0;
        if (!version2 && !strstr(controllers + 1, "cpu")) continue;
        while (strlen(group) > 1) {
            snprintf(folder, sizeof folder, "%s%s%s", mount, version2 ? "" : "/cpu", group);
            limit = tighter(limit, group_cores(folder));
            char *slash = strrchr(group, '/');
            if (!slash) break;
            *slash = 0;
        }
    }
    fclose(file);
    return limit;
}

int vlm_usable_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    // Fails on machines with more processors than the set holds; then all that are online count.
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) cores = CPU_COUNT(&set);
    int limit = vlm_quota_cores("/sys/fs/cgroup", "/proc/self/cgroup");
    if (limit > 0 && limit < cores) cores = limit;
#endif
    return cores < 1 ? 1 : (int)cores;
}

double vlm_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
