// The CUDA libraries as tables of functions, opened at run time: nothing of CUDA is needed to build or to start.
//
// Types and constants are this project's own declarations of the libraries' documented binary interface. Device addresses (CUdeviceptr)
// are `void *`, which is the same 64 bits, so that Swift sees raw pointers. Function names are the versioned symbols that never change
// their meaning.
#ifndef VLM_CUDA_H
#define VLM_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: Driver

typedef struct vlm_cu_context_t *vlm_cu_context;
typedef struct vlm_cu_stream_t *vlm_cu_stream;
typedef struct vlm_cu_event_t *vlm_cu_event;
typedef struct vlm_cu_module_t *vlm_cu_module;
typedef struct vlm_cu_function_t *vlm_cu_function;
typedef struct vlm_cu_graph_t *vlm_cu_graph;
typedef struct vlm_cu_graph_exec_t *vlm_cu_graph_exec;
typedef struct vlm_cu_pool_t *vlm_cu_pool;

enum {
    // CUdevice_attribute
    VLM_CU_DEVICE_CLOCK_KHZ = 13,
    VLM_CU_DEVICE_MULTIPROCESSORS = 16,
    VLM_CU_DEVICE_INTEGRATED = 18,
    VLM_CU_DEVICE_MEMORY_CLOCK_KHZ = 36,
    VLM_CU_DEVICE_MEMORY_BUS_BITS = 37,
    VLM_CU_DEVICE_L2_BYTES = 38,
    VLM_CU_DEVICE_MAJOR = 75,
    VLM_CU_DEVICE_MINOR = 76,
    VLM_CU_DEVICE_SHARED_PER_MULTIPROCESSOR = 81,
    VLM_CU_DEVICE_SHARED_PER_BLOCK_OPTIN = 97,
    VLM_CU_DEVICE_MEMORY_POOLS = 115,
    // CUfunction_attribute
    VLM_CU_FUNCTION_MAX_THREADS = 0,
    VLM_CU_FUNCTION_STATIC_SHARED_BYTES = 1,
    VLM_CU_FUNCTION_LOCAL_BYTES = 3,
    VLM_CU_FUNCTION_REGISTERS = 4,
    VLM_CU_FUNCTION_MAX_DYNAMIC_SHARED_BYTES = 8,
    VLM_CU_FUNCTION_SHARED_CARVEOUT = 9,
    // CUlaunchAttributeID
    VLM_CU_LAUNCH_CLUSTER_DIMENSION = 4,
    VLM_CU_LAUNCH_PROGRAMMATIC_SERIALIZATION = 6,
    // CUstream_flags, CUevent_flags, CUstreamCaptureMode, CUmemorytype
    VLM_CU_STREAM_NON_BLOCKING = 1,
    VLM_CU_EVENT_DEFAULT = 0,
    VLM_CU_EVENT_BLOCKING_SYNC = 1,
    VLM_CU_EVENT_DISABLE_TIMING = 2,
    VLM_CU_CAPTURE_THREAD_LOCAL = 1,
    VLM_CU_CAPTURE_RELAXED = 2,
    VLM_CU_MEMORY_HOST = 1,
    VLM_CU_MEMORY_DEVICE = 2,
    // CUmemhostalloc flags
    VLM_CU_HOST_PORTABLE = 1,
    VLM_CU_HOST_DEVICE_MAP = 2,
    // CUmemPool_attribute, each a uint64_t
    VLM_CU_POOL_RELEASE_THRESHOLD = 4,
    VLM_CU_POOL_RESERVED_CURRENT = 5,
    VLM_CU_POOL_USED_CURRENT = 7,
    // CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion
    VLM_CU_TENSOR_FLOAT16 = 6,
    VLM_CU_TENSOR_FLOAT32 = 7,
    VLM_CU_TENSOR_BFLOAT16 = 9,
    VLM_CU_SWIZZLE_NONE = 0,
    VLM_CU_SWIZZLE_32B = 1,
    VLM_CU_SWIZZLE_64B = 2,
    VLM_CU_SWIZZLE_128B = 3,
    VLM_CU_L2_PROMOTION_NONE = 0,
    VLM_CU_L2_PROMOTION_128B = 2,
    VLM_CU_L2_PROMOTION_256B = 3,
};

/// CUresult; only those that are handled by number.
enum {
    VLM_CU_SUCCESS = 0,
    VLM_CU_INVALID_VALUE = 1,
    VLM_CU_OUT_OF_MEMORY = 2,
    VLM_CU_STUB_LIBRARY = 34,
    VLM_CU_NEWER_DRIVER_NEEDED = 36,
    VLM_CU_DEVICE_UNAVAILABLE = 46,
    VLM_CU_NO_DEVICE = 100,
    VLM_CU_INVALID_DEVICE = 101,
    VLM_CU_INVALID_IMAGE = 200,
    VLM_CU_NO_BINARY_FOR_GPU = 209,
    VLM_CU_ECC_UNCORRECTABLE = 214,
    VLM_CU_INVALID_PTX = 218,
    VLM_CU_UNSUPPORTED_PTX_VERSION = 222,
    VLM_CU_CONTAINED = 226,
    VLM_CU_NOT_READY = 600,
    VLM_CU_ILLEGAL_ADDRESS = 700,
    VLM_CU_LAUNCH_OUT_OF_RESOURCES = 701,
    VLM_CU_LAUNCH_TIMEOUT = 702,
    VLM_CU_ASSERT = 710,
    VLM_CU_HARDWARE_STACK_ERROR = 714,
    VLM_CU_TENSOR_MEMORY_LEAK = 721,
    VLM_CU_SYSTEM_NOT_READY = 802,
    VLM_CU_DRIVER_MISMATCH = 803,
    VLM_CU_COMPAT_NOT_SUPPORTED = 804,
};

/// CUlaunchAttribute: an id, padding to 8 bytes, a value of 64 bytes.
typedef struct {
    uint32_t id;
    uint32_t padding;
    union {
        uint32_t cluster[3];
        int32_t flag;
        uint64_t words[8];
    } value;
} vlm_cu_launch_attribute;

/// CUlaunchConfig
typedef struct {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    vlm_cu_stream stream;
    vlm_cu_launch_attribute *attributes;
    uint32_t attribute_count;
} vlm_cu_launch_config;

/// Functions of libcuda; every one is there after ``vlm_cuda_load_driver`` has succeeded. They return a CUresult.
#define VLM_CU_FUNCTIONS(F)                                                                                                       \
    F(cuInit, (uint32_t flags))                                                                                                   \
    F(cuDriverGetVersion, (int32_t * version))                                                                                    \
    F(cuGetErrorName, (int32_t status, const char **name))                                                                        \
    F(cuGetErrorString, (int32_t status, const char **text))                                                                      \
    F(cuDeviceGetCount, (int32_t * count))                                                                                        \
    F(cuDeviceGet, (int32_t * device, int32_t ordinal))                                                                           \
    F(cuDeviceGetName, (char *name, int32_t length, int32_t device))                                                              \
    F(cuDeviceGetAttribute, (int32_t * value, int32_t attribute, int32_t device))                                                 \
    F(cuDeviceTotalMem_v2, (size_t * bytes, int32_t device))                                                                      \
    F(cuDeviceGetPCIBusId, (char *text, int32_t length, int32_t device))                                                          \
    F(cuDevicePrimaryCtxRetain, (vlm_cu_context * context, int32_t device))                                                       \
    F(cuDevicePrimaryCtxRelease_v2, (int32_t device))                                                                             \
    F(cuCtxSetCurrent, (vlm_cu_context context))                                                                                  \
    F(cuCtxGetCurrent, (vlm_cu_context * context))                                                                                \
    F(cuMemGetInfo_v2, (size_t * free_bytes, size_t *total_bytes))                                                                \
    F(cuMemAlloc_v2, (void **address, size_t bytes))                                                                              \
    F(cuMemFree_v2, (void *address))                                                                                              \
    F(cuDeviceGetDefaultMemPool, (vlm_cu_pool * pool, int32_t device))                                                            \
    F(cuMemPoolSetAttribute, (vlm_cu_pool pool, int32_t attribute, void *value))                                                  \
    F(cuMemPoolGetAttribute, (vlm_cu_pool pool, int32_t attribute, void *value))                                                  \
    F(cuMemPoolTrimTo, (vlm_cu_pool pool, size_t bytes))                                                                          \
    F(cuMemAllocAsync, (void **address, size_t bytes, vlm_cu_stream stream))                                                      \
    F(cuMemFreeAsync, (void *address, vlm_cu_stream stream))                                                                      \
    F(cuMemHostAlloc, (void **address, size_t bytes, uint32_t flags))                                                             \
    F(cuMemFreeHost, (void *address))                                                                                             \
    F(cuMemHostGetDevicePointer_v2, (void **address, void *host, uint32_t flags))                                                 \
    F(cuMemcpyHtoDAsync_v2, (void *out, const void *source, size_t bytes, vlm_cu_stream stream))                                  \
    F(cuMemcpyDtoHAsync_v2, (void *out, const void *source, size_t bytes, vlm_cu_stream stream))                                  \
    F(cuMemcpyDtoDAsync_v2, (void *out, const void *source, size_t bytes, vlm_cu_stream stream))                                  \
    F(cuMemsetD8Async, (void *address, uint8_t value, size_t count, vlm_cu_stream stream))                                        \
    F(cuMemsetD32Async, (void *address, uint32_t value, size_t count, vlm_cu_stream stream))                                      \
    F(cuStreamCreate, (vlm_cu_stream * stream, uint32_t flags))                                                                   \
    F(cuStreamDestroy_v2, (vlm_cu_stream stream))                                                                                 \
    F(cuStreamSynchronize, (vlm_cu_stream stream))                                                                                \
    F(cuStreamQuery, (vlm_cu_stream stream))                                                                                      \
    F(cuStreamWaitEvent, (vlm_cu_stream stream, vlm_cu_event event, uint32_t flags))                                              \
    F(cuEventCreate, (vlm_cu_event * event, uint32_t flags))                                                                      \
    F(cuEventDestroy_v2, (vlm_cu_event event))                                                                                    \
    F(cuEventRecord, (vlm_cu_event event, vlm_cu_stream stream))                                                                  \
    F(cuEventQuery, (vlm_cu_event event))                                                                                         \
    F(cuEventSynchronize, (vlm_cu_event event))                                                                                   \
    F(cuEventElapsedTime, (float *milliseconds, vlm_cu_event start, vlm_cu_event end))                                            \
    F(cuModuleLoadDataEx,                                                                                                         \
      (vlm_cu_module * module, const void *image, uint32_t option_count, int32_t *options, void **option_values))                 \
    F(cuModuleUnload, (vlm_cu_module module))                                                                                     \
    F(cuModuleGetFunction, (vlm_cu_function * function, vlm_cu_module module, const char *name))                                  \
    F(cuFuncGetAttribute, (int32_t * value, int32_t attribute, vlm_cu_function function))                                         \
    F(cuFuncSetAttribute, (vlm_cu_function function, int32_t attribute, int32_t value))                                           \
    F(cuOccupancyMaxActiveBlocksPerMultiprocessor,                                                                                \
      (int32_t * blocks, vlm_cu_function function, int32_t block_size, size_t shared_bytes))                                      \
    F(cuLaunchKernelEx, (const vlm_cu_launch_config *config, vlm_cu_function function, void **parameters, void **extra))          \
    F(cuStreamBeginCapture_v2, (vlm_cu_stream stream, int32_t mode))                                                              \
    F(cuThreadExchangeStreamCaptureMode, (int32_t * mode))                                                                        \
    F(cuStreamEndCapture, (vlm_cu_stream stream, vlm_cu_graph * graph))                                                           \
    F(cuGraphDestroy, (vlm_cu_graph graph))                                                                                       \
    F(cuGraphInstantiateWithFlags, (vlm_cu_graph_exec * executable, vlm_cu_graph graph, uint64_t flags))                          \
    F(cuGraphExecDestroy, (vlm_cu_graph_exec executable))                                                                         \
    F(cuGraphUpload, (vlm_cu_graph_exec executable, vlm_cu_stream stream))                                                        \
    F(cuGraphLaunch, (vlm_cu_graph_exec executable, vlm_cu_stream stream))                                                        \
    F(cuTensorMapEncodeTiled,                                                                                                     \
      (void *map, int32_t type, uint32_t rank, void *address, const uint64_t *dimensions, const uint64_t *strides,                \
       const uint32_t *box, const uint32_t *element_strides, int32_t interleave, int32_t swizzle, int32_t l2_promotion,           \
       int32_t fill))

// MARK: NVRTC

typedef struct vlm_nvrtc_program_t *vlm_nvrtc_program;

enum { VLM_NVRTC_COMPILATION = 6 };

/// Functions of libnvrtc that return an nvrtcResult.
#define VLM_NVRTC_FUNCTIONS(F)                                                                                                    \
    F(nvrtcVersion, (int32_t * major, int32_t *minor))                                                                            \
    F(nvrtcGetNumSupportedArchs, (int32_t * count))                                                                               \
    F(nvrtcGetSupportedArchs, (int32_t * architectures))                                                                          \
    F(nvrtcCreateProgram, (vlm_nvrtc_program * program, const char *source, const char *name, int32_t header_count,               \
                           const char *const *headers, const char *const *header_names))                                          \
    F(nvrtcDestroyProgram, (vlm_nvrtc_program * program))                                                                         \
    F(nvrtcCompileProgram, (vlm_nvrtc_program program, int32_t option_count, const char *const *options))                         \
    F(nvrtcGetProgramLogSize, (vlm_nvrtc_program program, size_t * bytes))                                                        \
    F(nvrtcGetProgramLog, (vlm_nvrtc_program program, char *text))                                                                \
    F(nvrtcGetCUBINSize, (vlm_nvrtc_program program, size_t * bytes))                                                             \
    F(nvrtcGetCUBIN, (vlm_nvrtc_program program, char *bytes))                                                                    \
    F(nvrtcGetPTXSize, (vlm_nvrtc_program program, size_t * bytes))                                                               \
    F(nvrtcGetPTX, (vlm_nvrtc_program program, char *text))

// MARK: cuBLASLt

typedef struct vlm_blas_handle_t *vlm_blas_handle;
typedef struct vlm_blas_matmul_t *vlm_blas_matmul;
typedef struct vlm_blas_layout_t *vlm_blas_layout;
typedef struct vlm_blas_preference_t *vlm_blas_preference;

enum {
    // cublasStatus_t
    VLM_BLAS_SUCCESS = 0,
    VLM_BLAS_NOT_SUPPORTED = 15,
    // cublasComputeType_t, cudaDataType_t, cublasOperation_t
    VLM_BLAS_COMPUTE_FLOAT32 = 68,
    VLM_BLAS_COMPUTE_TF32 = 77,
    VLM_BLAS_FLOAT32 = 0,
    VLM_BLAS_FLOAT16 = 2,
    VLM_BLAS_BFLOAT16 = 14,
    VLM_BLAS_PLAIN = 0,
    VLM_BLAS_TRANSPOSED = 1,
    // cublasLtMatmulDescAttributes_t
    VLM_BLAS_MATMUL_TRANSPOSE_A = 3,
    VLM_BLAS_MATMUL_TRANSPOSE_B = 4,
    VLM_BLAS_MATMUL_EPILOGUE = 7,
    VLM_BLAS_MATMUL_BIAS_POINTER = 8,
    VLM_BLAS_MATMUL_BIAS_TYPE = 26,
    // cublasLtEpilogue_t
    VLM_BLAS_EPILOGUE_NONE = 1,
    VLM_BLAS_EPILOGUE_RELU = 2,
    VLM_BLAS_EPILOGUE_BIAS = 4,
    VLM_BLAS_EPILOGUE_RELU_BIAS = 6,
    VLM_BLAS_EPILOGUE_GELU = 32,
    VLM_BLAS_EPILOGUE_GELU_BIAS = 36,
    // cublasLtMatmulPreferenceAttributes_t
    VLM_BLAS_PREFERENCE_WORKSPACE_BYTES = 1,
    VLM_BLAS_PREFERENCE_ALIGNMENT_A = 5,
    VLM_BLAS_PREFERENCE_ALIGNMENT_B = 6,
    VLM_BLAS_PREFERENCE_ALIGNMENT_C = 7,
    VLM_BLAS_PREFERENCE_ALIGNMENT_D = 8,
};

/// cublasLtMatmulAlgo_t
typedef struct {
    uint64_t data[8];
} vlm_blas_algorithm;

/// cublasLtMatmulHeuristicResult_t
typedef struct {
    vlm_blas_algorithm algorithm;
    size_t workspace_bytes;
    int32_t state;
    float waves;
    int32_t reserved[4];
} vlm_blas_choice;

/// Functions of libcublasLt that return a cublasStatus_t.
#define VLM_BLAS_FUNCTIONS(F)                                                                                                     \
    F(cublasLtCreate, (vlm_blas_handle * handle))                                                                                 \
    F(cublasLtDestroy, (vlm_blas_handle handle))                                                                                  \
    F(cublasLtMatmulDescCreate, (vlm_blas_matmul * matmul, int32_t compute_type, int32_t scale_type))                             \
    F(cublasLtMatmulDescDestroy, (vlm_blas_matmul matmul))                                                                        \
    F(cublasLtMatmulDescSetAttribute, (vlm_blas_matmul matmul, int32_t attribute, const void *value, size_t bytes))               \
    F(cublasLtMatrixLayoutCreate,                                                                                                 \
      (vlm_blas_layout * layout, int32_t type, uint64_t rows, uint64_t columns, int64_t leading_dimension))                       \
    F(cublasLtMatrixLayoutDestroy, (vlm_blas_layout layout))                                                                      \
    F(cublasLtMatmulPreferenceCreate, (vlm_blas_preference * preference))                                                         \
    F(cublasLtMatmulPreferenceDestroy, (vlm_blas_preference preference))                                                          \
    F(cublasLtMatmulPreferenceSetAttribute,                                                                                       \
      (vlm_blas_preference preference, int32_t attribute, const void *value, size_t bytes))                                       \
    F(cublasLtMatmulAlgoGetHeuristic,                                                                                             \
      (vlm_blas_handle handle, vlm_blas_matmul matmul, vlm_blas_layout a, vlm_blas_layout b, vlm_blas_layout c,                   \
       vlm_blas_layout d, vlm_blas_preference preference, int32_t wanted, vlm_blas_choice * choices, int32_t *found))             \
    F(cublasLtMatmul,                                                                                                             \
      (vlm_blas_handle handle, vlm_blas_matmul matmul, const void *alpha, const void *a, vlm_blas_layout a_layout,                \
       const void *b, vlm_blas_layout b_layout, const void *beta, const void *c, vlm_blas_layout c_layout, void *d,               \
       vlm_blas_layout d_layout, const vlm_blas_algorithm *algorithm, void *workspace, size_t workspace_bytes,                    \
       vlm_cu_stream stream))

// MARK: Tables

#define VLM_MEMBER(name, arguments) int32_t(*name) arguments;

typedef struct {
    VLM_CU_FUNCTIONS(VLM_MEMBER)
} vlm_cuda_driver;

typedef struct {
    VLM_NVRTC_FUNCTIONS(VLM_MEMBER)
    const char *(*nvrtcGetErrorString)(int32_t status);
} vlm_nvrtc;

typedef struct {
    VLM_BLAS_FUNCTIONS(VLM_MEMBER)
    size_t (*cublasLtGetVersion)(void);
    const char *(*cublasLtGetStatusName)(int32_t status);
} vlm_blas;

#undef VLM_MEMBER

/// Opens a shared library by name or path; `global` makes its symbols visible to libraries opened later.
///
/// Returns null and writes why to `message`, zero-terminated within `message_bytes`.
void *vlm_library_open(const char *path, bool global, char *message, size_t message_bytes);

/// Each fills a table from an open library. They return null, or the name of the first function that the library lacks.
const char *vlm_cuda_load_driver(void *library, vlm_cuda_driver *table);
const char *vlm_cuda_load_nvrtc(void *library, vlm_nvrtc *table);
const char *vlm_cuda_load_blas(void *library, vlm_blas *table);

/// Encodes a tensor map of 128 bytes, which need not be aligned, with zeros outside and 256-byte lines in L2.
int32_t vlm_cuda_encode_tensor_map(
    const vlm_cuda_driver *driver, void *map, int32_t type, uint32_t rank, void *address, const uint64_t *sizes,
    const uint64_t *stride_bytes, const uint32_t *box, const uint32_t *steps, int32_t swizzle);

/// What a kernel is launched with; `cluster` 1 for none.
typedef struct {
    uint32_t grid_x, grid_y, grid_z;
    uint32_t block;
    uint32_t shared_bytes;
    uint32_t cluster;
    /// Lets the kernel start before the one in front has ended (programmatic dependent launch).
    bool overlaps;
} vlm_cuda_launch_shape;

enum { VLM_CUDA_PARAMETER_BYTES = 4096 };

/// Launches a kernel whose one parameter, by value, is the `bytes` at `parameters`, at most VLM_CUDA_PARAMETER_BYTES.
///
/// The kernel's structure may be longer by padding of up to 63 bytes.
int32_t vlm_cuda_launch(
    const vlm_cuda_driver *driver, vlm_cu_function function, vlm_cuda_launch_shape shape, vlm_cu_stream stream,
    const void *parameters, size_t bytes);

#endif
