import CCPUKernels

package import Tensors

extension CPUBackend {
    package func add(_ x: Tensor, into out: Tensor) throws {
        try requireFloat32(x, out, in: "add")
        try require(x.shape == out.shape, "add", "x \(x.shape) and out \(out.shape) must be equal")
        let isa = instructionSet.isa
        forRows(x.rows, width: x.width) { rows in
            vlm_add(
                isa, out.floatRow(rows.lowerBound), out.rowStride, x.floatRow(rows.lowerBound), x.rowStride, rows.count, x.width)
        }
    }

    package func activate(_ x: Tensor, _ activation: Activation) throws {
        try requireFloat32(x, in: "activate")
        let (isa, function) = (instructionSet.isa, activation.kernel)
        forRows(x.rows, width: x.width) { rows in
            vlm_activate(isa, x.floatRow(rows.lowerBound), x.rowStride, rows.count, x.width, function)
        }
    }

    package func scale(_ x: Tensor, by factor: Float) throws {
        try requireFloat32(x, in: "scale")
        let isa = instructionSet.isa
        forRows(x.rows, width: x.width) { rows in
            vlm_scale(isa, x.floatRow(rows.lowerBound), x.rowStride, rows.count, x.width, factor)
        }
    }
}

// MARK: What operations on rows share

extension CPUBackend {
    /// Runs `body` on ranges of rows, on all threads when the work pays.
    ///
    /// A unit is at least 16,384 elements (64 KB): that takes a core 2 to 5 µs, as long as waking another thread. So the rows
    /// of a decoding step run on the calling thread.
    func forRows(_ rows: Int, width: Int, _ body: (Range<Int>) -> Void) {
        guard rows > 0, width > 0 else { return }
        pool.parallelRanges(rows, grain: max(1, 16384 / width)) { range, _ in body(range) }
    }

    func require(_ condition: Bool, _ operation: String, _ detail: @autoclosure () -> String) throws {
        guard condition else { throw TensorError(.shapeMismatch, operation: operation, detail: detail()) }
    }

    /// Checks up to three operands; not an array of them, which would be allocated in every call.
    func requireFloat32(_ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil, in operation: String) throws {
        try requireFloat32(only: a, operation)
        if let b { try requireFloat32(only: b, operation) }
        if let c { try requireFloat32(only: c, operation) }
    }

    private func requireFloat32(only tensor: Tensor, _ operation: String) throws {
        guard tensor.dtype == .float32 else {
            throw TensorError(
                .unsupported, operation: operation, detail: "\(tensor.dtype) \(tensor.shape) given, the CPU computes on float32")
        }
    }

    func requireInt32(_ indices: Tensor, count: Int, _ operation: String) throws {
        try require(
            indices.dtype == .int32 && indices.count == count && indices.isContiguous, operation,
            "indices \(indices.shape) of \(indices.dtype) must be \(count) contiguous int32")
    }
}

extension Tensor {
    /// First element as float32.
    var floats: UnsafeMutablePointer<Float> { pointer.assumingMemoryBound(to: Float.self) }

    /// First element of a row as float32.
    func floatRow(_ row: Int) -> UnsafeMutablePointer<Float> { floats + row * rowStride }

    /// First element of a row, whatever its type.
    func rawRow(_ row: Int) -> UnsafeMutableRawPointer { pointer + row * rowStride * dtype.size }

    var int32s: UnsafeMutablePointer<Int32> { pointer.assumingMemoryBound(to: Int32.self) }

    /// The element type's number in the C kernels, nil when they do not take it.
    var element: vlm_element? {
        switch dtype {
        case .float32: VLM_F32
        case .bfloat16: VLM_BF16
        case .float16: VLM_F16
        default: nil
        }
    }
}
