package import CCUDA

/// The driver's functions, with statuses turned into errors.
package final class CUDADriver: @unchecked Sendable {  // the table is written once, before anybody sees it
    /// The functions by their symbols.
    let api: UnsafePointer<vlm_cuda_driver>
    let path: String
    /// As `cuDriverGetVersion` gives it: 13000 is CUDA 13.0.
    let version: Int

    package init(_ table: vlm_cuda_driver, path: String, version: Int) {
        let memory = UnsafeMutablePointer<vlm_cuda_driver>.allocate(capacity: 1)
        memory.initialize(to: table)
        api = UnsafePointer(memory)
        self.path = path
        self.version = version
    }

    deinit { api.deallocate() }

    /// Throws when a call did not return success: `try cuda.check(cuda.api.pointee.cuEventRecord(event, stream), "cuEventRecord")`.
    @inline(__always)
    func check(_ status: Int32, _ call: StaticString) throws {
        guard status == 0 else { throw error(status, call: "\(call)") }
    }

    /// The error for a status.
    ///
    /// - Parameters:
    ///   - kernel: the kernel being started.
    ///   - recent: the kernels started last, newest first, for faults that are told late.
    package func error(_ status: Int32, call: String, kernel: String? = nil, recent: [String] = []) -> CUDAError {
        let name = text(api.pointee.cuGetErrorName, status) ?? "CUDA status \(status)"
        let detail = text(api.pointee.cuGetErrorString, status) ?? "no description"
        let kind = CUDADriver.kind(status, isLaunch: kernel != nil)
        // A fault is told by whichever call comes next, so the kernel in hand is only the last suspect.
        guard kind == .deviceLost else {
            return CUDAError(
                kind, call: call, kernel: kernel, status: name, detail: detail, hint: CUDADriver.hint(status, kind))
        }
        let suspects = ([kernel].compactMap { $0 } + recent).prefix(8)
        return CUDAError(
            kind, call: call, kernel: suspects.isEmpty ? nil : "after " + suspects.joined(separator: ", "), status: name,
            detail: detail, hint: CUDADriver.hint(status, kind))
    }

    private func text(
        _ function: @convention(c) (Int32, UnsafeMutablePointer<UnsafePointer<CChar>?>?) -> Int32, _ status: Int32
    ) -> String? {
        var pointer: UnsafePointer<CChar>?
        guard function(status, &pointer) == VLM_CU_SUCCESS else { return nil }
        return pointer.map { String(cString: $0) }
    }

    private static func kind(_ status: Int32, isLaunch: Bool) -> CUDAError.Kind {
        switch Int(status) {
        case VLM_CU_OUT_OF_MEMORY: .outOfMemory
        case VLM_CU_NO_DEVICE, VLM_CU_INVALID_DEVICE, VLM_CU_DEVICE_UNAVAILABLE, VLM_CU_SYSTEM_NOT_READY: .noDevice
        case VLM_CU_STUB_LIBRARY: .noDriver
        case VLM_CU_NEWER_DRIVER_NEEDED, VLM_CU_UNSUPPORTED_PTX_VERSION, VLM_CU_DRIVER_MISMATCH, VLM_CU_COMPAT_NOT_SUPPORTED:
            .driverTooOld
        case VLM_CU_INVALID_IMAGE, VLM_CU_NO_BINARY_FOR_GPU, VLM_CU_INVALID_PTX: .compilation
        case VLM_CU_ECC_UNCORRECTABLE, VLM_CU_CONTAINED, VLM_CU_ILLEGAL_ADDRESS, VLM_CU_LAUNCH_TIMEOUT, VLM_CU_ASSERT,
            VLM_CU_HARDWARE_STACK_ERROR...VLM_CU_TENSOR_MEMORY_LEAK:
            .deviceLost
        default: isLaunch ? .launch : .failed
        }
    }

    private static func hint(_ status: Int32, _ kind: CUDAError.Kind) -> String {
        switch kind {
        case .noDriver, .noDevice:
            "Check with nvidia-smi that a GPU is visible to this process (CUDA_VISIBLE_DEVICES), or run with --device cpu"
        case .driverTooOld: "Update the NVIDIA driver; vlm doctor shows the versions"
        case .outOfMemory:
            "Close other programs on the GPU (nvidia-smi shows them), or give the model a shorter session (--session-len)"
        case .compilation: "The driver does not take what this NVRTC makes: use one of the driver's CUDA version (VLM_CUDA_PATH)"
        case .deviceLost where Int(status) == VLM_CU_ECC_UNCORRECTABLE:
            "The GPU's memory has a hardware fault; nvidia-smi -q -d ECC shows it. Start the program again"
        case .deviceLost:
            "Start the program again; with VLM_CUDA_SYNC=1 the error names the very kernel. If it stays, please report it"
        default: "Run vlm doctor; if it finds nothing, please report this with the whole message"
        }
    }
}
