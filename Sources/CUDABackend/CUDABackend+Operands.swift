import CCUDAKernels
import Tensors

// What the operations on rows check and how they cut work into threads.

extension CUDABackend {
    func require(_ condition: Bool, _ operation: String, _ detail: @autoclosure () -> String) throws {
        guard condition else { throw TensorError(.shapeMismatch, operation: operation, detail: detail()) }
    }

    /// Checks up to three operands; not an array of them, which would be allocated in every call.
    func requireActivations(_ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil, in operation: String) throws {
        try requireType(activationType, a, operation)
        if let b { try requireType(activationType, b, operation) }
        if let c { try requireType(activationType, c, operation) }
    }

    func requireFloat32(_ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil, in operation: String) throws {
        try requireType(.float32, a, operation)
        if let b { try requireType(.float32, b, operation) }
        if let c { try requireType(.float32, c, operation) }
    }

    private func requireType(_ type: DType, _ tensor: Tensor, _ operation: String) throws {
        guard tensor.dtype == type else {
            throw TensorError(
                .unsupported, operation: operation, detail: "\(tensor.dtype) \(tensor.shape) given, this backend takes \(type)")
        }
    }

    func requireInt32(_ indices: Tensor, count: Int, _ operation: String) throws {
        try require(
            indices.dtype == .int32 && indices.count == count && indices.isContiguous, operation,
            "indices \(indices.shape) of \(indices.dtype) must be \(count) contiguous int32")
    }

    /// A floating type as kernels number it at run time.
    func elementType(_ tensor: Tensor, _ operation: String) throws -> Int32 {
        guard let type = tensor.dtype.cudaType else {
            throw TensorError(
                .unsupported, operation: operation,
                detail: "\(tensor.shape) of \(tensor.dtype); it must be float32, float16 or bfloat16")
        }
        return type
    }

    /// Blocks of `block` threads for `threads` threads, which kernels count in 32 bits.
    func grid(threads: Int, block: Int, _ operation: String) throws -> Grid {
        guard threads <= Int(UInt32.max) - block else {
            throw TensorError(.unsupported, operation: operation, detail: "\(threads) threads; pass fewer rows at a time")
        }
        return Grid((threads + block - 1) / block)
    }
}

extension DType {
    /// `vlm_cuda_type`, nil for types kernels do not compute with.
    var cudaType: Int32? {
        switch self {
        case .float32: Int32(VLM_CUDA_FLOAT32.rawValue)
        case .float16: Int32(VLM_CUDA_FLOAT16.rawValue)
        case .bfloat16: Int32(VLM_CUDA_BFLOAT16.rawValue)
        default: nil
        }
    }
}

extension Activation {
    /// `vlm_cuda_activation`
    var cudaValue: Int32 {
        switch self {
        case .gelu: Int32(VLM_CUDA_GELU.rawValue)
        case .geluTanh: Int32(VLM_CUDA_GELU_TANH.rawValue)
        case .quickGELU: Int32(VLM_CUDA_QUICK_GELU.rawValue)
        case .silu: Int32(VLM_CUDA_SILU.rawValue)
        case .relu: Int32(VLM_CUDA_RELU.rawValue)
        case .tanh: Int32(VLM_CUDA_TANH.rawValue)
        }
    }
}

extension Tensor {
    /// Whether every row, cut into pieces of `width` elements, can be read 16 bytes at a time.
    func isAligned(pieces width: Int) -> Bool {
        let mask = 15
        return (Int(bitPattern: pointer) | (rowStride * dtype.size) | (width * dtype.size)) & mask == 0
    }

    /// Whether a vector's first element lies at a multiple of 16 bytes. (Its elements are rows to ``isAligned(pieces:)``.)
    var startsAligned: Bool { Int(bitPattern: pointer) & 15 == 0 }

    var floats: UnsafeMutablePointer<Float> { pointer.assumingMemoryBound(to: Float.self) }
    var bytes: UnsafeMutablePointer<UInt8> { pointer.assumingMemoryBound(to: UInt8.self) }
    var int32s: UnsafeMutablePointer<Int32> { pointer.assumingMemoryBound(to: Int32.self) }
}
