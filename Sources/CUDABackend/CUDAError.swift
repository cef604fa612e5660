/// A failure of a CUDA library, of the driver or of a GPU.
package struct CUDAError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// No NVIDIA driver on this machine.
        case noDriver
        /// The driver is older than the functions used here, or than the libraries beside it.
        case driverTooOld
        /// NVRTC or cuBLASLt is missing or incomplete.
        case missingLibrary
        /// No such GPU, or it cannot be used.
        case noDevice
        /// A GPU older than compute capability 8.0.
        case unsupportedArchitecture
        case outOfMemory
        /// NVRTC refused a program, or the driver refused what it made.
        case compilation
        /// A kernel could not be started.
        case launch
        /// A kernel faulted or the GPU failed: every later call on this device fails too.
        case deviceLost
        /// Anything else a call returned.
        case failed
    }

    package let kind: Kind
    /// The library function, such as `cuMemAllocAsync`.
    package let call: String
    /// The kernel that was being started, or the kernels that may have faulted.
    package let kernel: String?
    /// The library's name of the status, such as `CUDA_ERROR_OUT_OF_MEMORY`.
    package let status: String?
    package let detail: String
    /// What to do.
    package let hint: String

    package init(_ kind: Kind, call: String, kernel: String? = nil, status: String? = nil, detail: String, hint: String) {
        self.kind = kind
        self.call = call
        self.kernel = kernel
        self.status = status
        self.detail = detail
        self.hint = hint
    }

    package var description: String {
        let place = kernel.map { "\(call) (\($0))" } ?? call
        let reason = status.map { "\($0): \(detail)" } ?? detail
        return "\(place): \(reason). \(hint)"
    }
}
