package import Tensors

extension CUDABackend {
    /// Times ``linear(_:_:epilogue:into:)``, for `vlm doctor`: products of `rows` rows by weights `[outFeatures, inFeatures]` that take
    /// turns, so that none is found in the L2 cache.
    ///
    /// - Parameters:
    ///   - epilogue: nil for `gated(.silu)` of gates and ups, `store` of others.
    ///   - path: see ``linearPath``.
    /// - Returns: seconds of one product (the median over replays of a recorded sequence), the bytes it must move (weights, x and out once),
    ///   its multiplications and additions, and the kernels that it took.
    package func measureLinear(
        rows: Int, inFeatures: Int, outFeatures: Int, combine: LinearWeight.Combine = .concatenated,
        epilogue: LinearEpilogue? = nil, by path: LinearPath? = nil
    ) throws -> (seconds: Double, bytes: Int, operations: Int, path: LinearPath) {
        let size = activationType.size
        let weightBytes = outFeatures * inFeatures * size
        // At least three times what the cache holds, and some products even when one weight is larger than that.
        let copies = max(2, min(32, 3 * properties.l2Bytes / max(weightBytes, 1) + 1))
        let columns = combine == .gateUp ? outFeatures / 2 : outFeatures
        let buffer = try allocate(byteCount: copies * weightBytes + 256, purpose: "measuring products")
        let activations = try allocate(byteCount: rows * (inFeatures + columns) * size + 512, purpose: "measuring products")
        try fillWithNumbers(buffer.pointer, byteCount: copies * weightBytes)
        let x = Tensor(pointer: activations.pointer, dtype: activationType, shape: Shape(rows, inFeatures))
        try fillWithNumbers(x.pointer, byteCount: x.byteCount)
        let out = Tensor(
            pointer: activations.pointer + (x.byteCount + 255) / 256 * 256, dtype: activationType, shape: Shape(rows, columns))
        let weights = (0..<copies).map { i in
            LinearWeight(
                inFeatures: inFeatures, outFeatures: outFeatures, combine: combine, dtype: activationType,
                packed: Tensor(
                    pointer: buffer.pointer + i * weightBytes, dtype: activationType, shape: Shape(outFeatures, inFeatures)),
                bias: nil, owner: buffer)
        }
        let epilogue = epilogue ?? (combine == .gateUp ? .gated(.silu) : .store)
        // Compiles and plans what the recording needs.
        let usual = linearPath
        linearPath = path
        defer { linearPath = usual }
        let taken = try chooseLinear(x, weights[0], epilogue: epilogue, into: out)
        let work = try record { for weight in weights { try linear(x, weight, epilogue: epilogue, into: out) } }
        let seconds = try medianSeconds(repeats: 7) { try replay(work) } / Double(copies)
        return (
            seconds, weightBytes + rows * (inFeatures + columns) * size, 2 * rows * inFeatures * outFeatures, taken
        )
    }

    /// The median of the device's time for what `body` submits, after one run that does not count.
    func medianSeconds(repeats: Int, _ body: () throws -> Void) throws -> Double {
        try body()
        let times = try (0..<repeats).map { _ in
            let start = try mark()
            try body()
            let end = try mark()
            try end.wait()
            return try end.seconds(since: start)
        }
        return times.sorted()[repeats / 2]
    }

    /// Fills device memory with activations of magnitude 1/2 to 1 of either sign: what a chip does with zeros says little about its speed.
    func fillWithNumbers(_ pointer: UnsafeMutableRawPointer, byteCount: Int) throws {
        let first = min(byteCount, 1 << 20)
        var state: UInt32 = 0x9E37_79B9
        func random() -> UInt32 {
            state = state &* 1_664_525 &+ 1_013_904_223
            return state
        }
        // Sign and fraction are random, the exponent is that of 1/2.
        let words = (0..<(first + 3) / 4).map { _ -> UInt32 in
            let bits = random() ^ (random() >> 16)
            return switch activationType {
            case .float16: bits & 0x83FF_83FF | 0x3800_3800
            case .bfloat16: bits & 0x807F_807F | 0x3F00_3F00
            default: bits & 0x807F_FFFF | 0x3F00_0000
            }
        }
        try words.withUnsafeBytes {
            try upload(
                UnsafeRawBufferPointer(rebasing: $0[..<first]), to: Tensor(pointer: pointer, dtype: .uint8, shape: Shape(first)))
        }
        var filled = first
        while filled < byteCount {
            let count = min(filled, byteCount - filled)
            let source = Tensor(pointer: pointer, dtype: .uint8, shape: Shape(count))
            try copy(source, into: Tensor(pointer: pointer + filled, dtype: .uint8, shape: Shape(count)))
            filled += count
        }
    }
}
