#include "vlm_cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

// The layouts that the libraries read and write.
_Static_assert(sizeof(void *) == 8, "device addresses are 64 bits");
_Static_assert(sizeof(vlm_cu_launch_attribute) == 72 && offsetof(vlm_cu_launch_attribute, value) == 8, "CUlaunchAttribute");
_Static_assert(sizeof(vlm_cu_launch_config) == 56 && offsetof(vlm_cu_launch_config, stream) == 32, "CUlaunchConfig");
_Static_assert(sizeof(vlm_blas_choice) == 96 && offsetof(vlm_blas_choice, state) == 72, "cublasLtMatmulHeuristicResult_t");

void *vlm_library_open(const char *path, bool global, char *message, size_t message_bytes) {
    void *library = dlopen(path, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
    if (!library && message_bytes > 0) {
        const char *reason = dlerror();
        snprintf(message, message_bytes, "%s", reason ? reason : "unknown");
    }
    return library;
}

typedef struct {
    const char *name;
    size_t offset;
} symbol;

static const char *fill(void *library, void *table, const symbol *symbols, size_t count) {
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(library, symbols[i].name);
        if (!address) return symbols[i].name;
        memcpy((char *)table + symbols[i].offset, &address, sizeof address);
    }
    return NULL;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

const char *vlm_cuda_load_driver(void *library, vlm_cuda_driver *table) {
#define ENTRY(name, arguments) {#name, offsetof(vlm_cuda_driver, name)},
    static const symbol symbols[] = {VLM_CU_FUNCTIONS(ENTRY)};
#undef ENTRY
    return fill(library, table, symbols, COUNT(symbols));
}

const char *vlm_cuda_load_nvrtc(void *library, vlm_nvrtc *table) {
#define ENTRY(name, arguments) {#name, offsetof(vlm_nvrtc, name)},
    static const symbol symbols[] = {
        VLM_NVRTC_FUNCTIONS(ENTRY){"nvrtcGetErrorString", offsetof(vlm_nvrtc, nvrtcGetErrorString)},
    };
#undef ENTRY
    return fill(library, table, symbols, COUNT(symbols));
}

const char *vlm_cuda_load_blas(void *library, vlm_blas *table) {
#define ENTRY(name, arguments) {#name, offsetof(vlm_blas, name)},
    static const symbol symbols[] = {
        VLM_BLAS_FUNCTIONS(ENTRY){"cublasLtGetVersion", offsetof(vlm_blas, cublasLtGetVersion)},
        {"cublasLtGetStatusName", offsetof(vlm_blas, cublasLtGetStatusName)},
    };
#undef ENTRY
    return fill(library, table, symbols, COUNT(symbols));
}

int32_t vlm_cuda_launch(
    const vlm_cuda_driver *driver, vlm_cu_function function, vlm_cuda_launch_shape shape, vlm_cu_stream stream,
    const void *parameters, size_t bytes) {
    // The driver reads as many bytes as the kernel's structure has.
    _Alignas(64) unsigned char copy[VLM_CUDA_PARAMETER_BYTES + 64];
    if (bytes > VLM_CUDA_PARAMETER_BYTES) return VLM_CU_INVALID_VALUE;
    memcpy(copy, parameters, bytes);
    memset(copy + bytes, 0, 64);
    vlm_cu_launch_attribute attributes[2];
    uint32_t count = 0;
    if (shape.cluster > 1) {
        memset(&attributes[count], 0, sizeof attributes[count]);
        attributes[count].id = VLM_CU_LAUNCH_CLUSTER_DIMENSION;
        attributes[count].value.cluster[0] = shape.cluster;
        attributes[count].value.cluster[1] = 1;
        attributes[count].value.cluster[2] = 1;
        count++;
    }
    if (shape.overlaps) {
        memset(&attributes[count], 0, sizeof attributes[count]);
        attributes[count].id = VLM_CU_LAUNCH_PROGRAMMATIC_SERIALIZATION;
        attributes[count].value.flag = 1;
        count++;
    }
    vlm_cu_launch_config config = {
        .grid = {shape.grid_x, shape.grid_y, shape.grid_z},
        .block = {shape.block, 1, 1},
        .shared_bytes = shape.shared_bytes,
        .stream = stream,
        .attributes = attributes,
        .attribute_count = count,
    };
    void *arguments[] = {copy};
    return driver->cuLaunchKernelEx(&config, function, arguments, NULL);
}

int32_t vlm_cuda_encode_tensor_map(
    const vlm_cuda_driver *driver, void *map, int32_t type, uint32_t rank, void *address, const uint64_t *sizes,
    const uint64_t *stride_bytes, const uint32_t *box, const uint32_t *steps, int32_t swizzle) {
    // The driver wants the map itself aligned.
    _Alignas(64) uint64_t words[16];
    int32_t status = driver->cuTensorMapEncodeTiled(
        words, type, rank, address, sizes, stride_bytes, box, steps, 0, swizzle, VLM_CU_L2_PROMOTION_256B, 0);
    memcpy(map, words, sizeof words);
    return status;
}
