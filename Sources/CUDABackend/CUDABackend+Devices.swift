import CCUDA

extension CUDABackend {
    /// The GPUs of this machine.
    ///
    /// - Throws: ``CUDAError`` when there is no driver, or one that does not work; no GPU gives an empty list.
    package static func devices(_ libraries: CUDALibraries) throws -> [DeviceProperties] {
        let cuda = try libraries.driver.get()
        return try (0..<count(cuda)).map { try open(cuda, index: $0).properties }
    }

    /// Free bytes of GPU `index`, other processes respected.
    package static func freeBytes(_ libraries: CUDALibraries, index: Int) throws -> Int {
        let cuda = try libraries.driver.get()
        let (device, properties) = try open(cuda, index: index)
        return try DeviceContext(cuda, device: device, properties: properties).freeBytes()
    }

    /// Free bytes on this backend's GPU.
    package func freeBytes() throws -> Int { try context.freeBytes() }

    private static func count(_ cuda: CUDADriver) throws -> Int {
        let status = cuda.api.pointee.cuInit(0)
        if Int(status) == VLM_CU_NO_DEVICE { return 0 }
        try cuda.check(status, "cuInit")
        var count: Int32 = 0
        try cuda.check(cuda.api.pointee.cuDeviceGetCount(&count), "cuDeviceGetCount")
        return Int(count)
    }

    static func open(_ cuda: CUDADriver, index: Int) throws -> (device: Int32, properties: DeviceProperties) {
        let count = try count(cuda)
        guard index >= 0, index < count else {
            throw CUDAError(
                .noDevice, call: "cuDeviceGet",
                detail: count == 0 ? "the driver sees no GPU" : "there is no cuda:\(index); the last is cuda:\(count - 1)",
                hint:
                    "Check with nvidia-smi that a GPU is visible to this process (CUDA_VISIBLE_DEVICES), or run with --device cpu"
            )
        }
        var device: Int32 = 0
        try cuda.check(cuda.api.pointee.cuDeviceGet(&device, Int32(index)), "cuDeviceGet")
        return (device, try DeviceProperties(cuda, device: device, index: index))
    }
}
