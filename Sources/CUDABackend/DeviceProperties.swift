import CCUDA

/// What one GPU is.
package struct DeviceProperties: Sendable, Equatable {
    package let index: Int
    package let name: String
    /// Compute capability, such as 9.0.
    package let major: Int
    package let minor: Int
    package let multiprocessors: Int
    package let l2Bytes: Int
    /// The most shared memory a block can have when it asks for it.
    package let sharedBytesPerBlock: Int
    package let sharedBytesPerMultiprocessor: Int
    package let totalBytes: Int
    /// Peak clock in kHz.
    package let clock: Int
    /// As the driver numbers it: 13000 is CUDA 13.0.
    package let driverVersion: Int
    /// Whether memory can be taken in stream order.
    let hasMemoryPools: Bool

    package var isHopper: Bool { major == 9 && minor == 0 }

    /// Asks the driver about device `index`.
    init(_ cuda: CUDADriver, device: Int32, index: Int) throws {
        func attribute(_ number: Int) throws -> Int {
            var value: Int32 = 0
            try cuda.check(cuda.api.pointee.cuDeviceGetAttribute(&value, Int32(number), device), "cuDeviceGetAttribute")
            return Int(value)
        }
        var text = [CChar](repeating: 0, count: 256)
        try cuda.check(cuda.api.pointee.cuDeviceGetName(&text, Int32(text.count), device), "cuDeviceGetName")
        var bytes = 0
        try cuda.check(cuda.api.pointee.cuDeviceTotalMem_v2(&bytes, device), "cuDeviceTotalMem")
        self.index = index
        name = text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        major = try attribute(VLM_CU_DEVICE_MAJOR)
        minor = try attribute(VLM_CU_DEVICE_MINOR)
        multiprocessors = try attribute(VLM_CU_DEVICE_MULTIPROCESSORS)
        l2Bytes = try attribute(VLM_CU_DEVICE_L2_BYTES)
        sharedBytesPerBlock = try attribute(VLM_CU_DEVICE_SHARED_PER_BLOCK_OPTIN)
        sharedBytesPerMultiprocessor = try attribute(VLM_CU_DEVICE_SHARED_PER_MULTIPROCESSOR)
        clock = try attribute(VLM_CU_DEVICE_CLOCK_KHZ)
        hasMemoryPools = try attribute(VLM_CU_DEVICE_MEMORY_POOLS) != 0
        totalBytes = bytes
        driverVersion = cuda.version
    }
}
