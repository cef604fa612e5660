import CCPUKernels
package import Tensors

extension DType {
    /// The type's number in the C kernels, nil when they have no conversion for it.
    var sourceType: vlm_source_type? {
        switch self {
        case .float32: VLM_SOURCE_F32
        case .float16: VLM_SOURCE_F16
        case .bfloat16: VLM_SOURCE_BF16
        default: nil
        }
    }
}

extension CPUBackend {
    /// The type linear weights are stored in: float32 in exact mode, bfloat16 in fast mode.
    ///
    /// Fast mode rounds float32 and float16 checkpoints to bfloat16 (8 bits of significand); use exact mode to keep all their bits.
    package var weightType: DType { mode == .exact ? .float32 : .bfloat16 }

    /// Packs weights into panels of 32 output features (vlm_cpu_gemm.h). `packed` is `[panels, steps · 32 words]`: a `gateUp` panel holds
    /// 16 gate features, then their 16 up features.
    ///
    /// - Throws: ``TensorError``: `shapeMismatch` when parts disagree, `unsupported` for a type other than float32, float16 and
    ///   bfloat16, `outOfMemory`.
    package func makeLinear(
        _ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine
    ) throws -> LinearWeight {
        // Packing reads through raw pointers, which do not keep their tensors' memory alive.
        defer { withExtendedLifetime((parts, bias)) {} }
        let (inFeatures, outFeatures) = try checkParts(parts, bias: bias, combine: combine)
        let gateUp = combine == .gateUp
        let panels =
            gateUp
            ? (outFeatures / 2 + CPUBackend.panel / 2 - 1) / (CPUBackend.panel / 2)
            : (outFeatures + CPUBackend.panel - 1) / CPUBackend.panel
        let bf16 = mode == .fast
        let packedBytes = vlm_packed_bytes(bf16, panels, inFeatures)
        let biasCount = bias.map { $0.contains { $0 != nil } } == true ? panels * CPUBackend.panel : 0
        let buffer = try allocateWeight(byteCount: packedBytes + biasCount * 4, purpose: parts[0].name)

        let sources = try parts.map {
            vlm_pack_source(data: $0.bytes.baseAddress, type: try sourceType($0), rows: $0.dimensions[0])
        }
        sources.withUnsafeBufferPointer { sources in
            pool.parallelRanges(panels) { range, _ in
                vlm_pack_panels(
                    instructionSet.isa, bf16, gateUp, sources.baseAddress, sources.count, inFeatures, range.lowerBound,
                    range.count,
                    buffer.pointer)
            }
        }

        var biasTensor: Tensor?
        if biasCount > 0, let bias {
            let pointer = buffer.pointer + packedBytes
            let values = pointer.assumingMemoryBound(to: Float.self)
            var firstFeature = 0
            for (index, part) in bias.enumerated() {
                if let part {
                    let converted = try floats(part)
                    for (feature, value) in converted.enumerated() {
                        let half = CPUBackend.panel / 2
                        let place =
                            gateUp
                            ? feature / half * CPUBackend.panel + index * half + feature % half
                            : firstFeature + feature
                        values[place] = value
                    }
                }
                firstFeature += parts[index].dimensions[0]
            }
            biasTensor = Tensor(pointer: pointer, dtype: .float32, shape: Shape(biasCount))
        }
        let dtype = weightType
        let packed = Tensor(
            pointer: buffer.pointer, dtype: dtype, shape: Shape(panels, packedBytes / max(panels, 1) / dtype.size))
        return LinearWeight(
            inFeatures: inFeatures, outFeatures: outFeatures, combine: combine, dtype: dtype, packed: packed, bias: biasTensor,
            owner: buffer)
    }

    /// Copies a tensor to aligned memory, converting between float32, float16 and bfloat16. Other types are copied when `dtype` is theirs.
    ///
    /// - Throws: ``TensorError``: `unsupported` for another conversion, `shapeMismatch` for more than four axes, `outOfMemory`.
    package func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        let axes = source.dimensions
        guard axes.count <= 4 else {
            throw TensorError(
                .shapeMismatch, operation: "make tensor", detail: "\(source.name) has \(axes.count) axes, at most 4 work")
        }
        let shape =
            switch axes.count {
            case 0: Shape(1)
            case 1: Shape(axes[0])
            case 2: Shape(axes[0], axes[1])
            case 3: Shape(axes[0], axes[1], axes[2])
            default: Shape(axes[0], axes[1], axes[2], axes[3])
            }
        try checkBytes(source)
        defer { withExtendedLifetime(source) {} }
        let buffer = try allocateWeight(byteCount: source.count * dtype.size, purpose: source.name)
        let tensor = Tensor(pointer: buffer.pointer, dtype: dtype, shape: shape)
        guard let bytes = source.bytes.baseAddress, source.count > 0 else { return (tensor, buffer) }
        if source.dtype == dtype {
            pool.parallelRanges(source.count, grain: 65536) { range, _ in
                (buffer.pointer + range.lowerBound * dtype.size).copyMemory(
                    from: bytes + range.lowerBound * dtype.size, byteCount: range.count * dtype.size)
            }
            return (tensor, buffer)
        }
        guard let from = source.dtype.sourceType, let to = dtype.sourceType else {
            throw TensorError(
                .unsupported, operation: "make tensor",
                detail:
                    "\(source.name) is \(source.dtype.rawValue) and cannot become \(dtype.rawValue); float32, float16 and bfloat16 convert"
            )
        }
        pool.parallelRanges(source.count, grain: 65536) { range, _ in
            vlm_convert(
                instructionSet.isa, bytes + range.lowerBound * source.dtype.size, from,
                buffer.pointer + range.lowerBound * dtype.size, to, range.count)
        }
        return (tensor, buffer)
    }

    static let panel = Int(VLM_PANEL)

    private func sourceType(_ tensor: HostTensor) throws -> vlm_source_type {
        guard let type = tensor.dtype.sourceType else {
            throw TensorError(
                .unsupported, operation: "make linear",
                detail: "\(tensor.name) is \(tensor.dtype.rawValue); the CPU multiplies float32, float16 and bfloat16 weights")
        }
        return type
    }

    private func checkBytes(_ tensor: HostTensor) throws {
        guard tensor.bytes.count == tensor.count * tensor.dtype.size else {
            throw TensorError(
                .shapeMismatch, operation: "make tensor",
                detail:
                    "\(tensor.name) \(tensor.dimensions) of \(tensor.dtype.rawValue) needs \(tensor.count * tensor.dtype.size) bytes, \(tensor.bytes.count) are there"
            )
        }
    }

    /// Checks that parts fit together; returns the features of the whole.
    private func checkParts(
        _ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine
    ) throws -> (inFeatures: Int, outFeatures: Int) {
        func mismatch(_ detail: String) -> TensorError { TensorError(.shapeMismatch, operation: "make linear", detail: detail) }
        guard let first = parts.first else { throw mismatch("a linear weight needs at least one part") }
        for part in parts {
            guard part.dimensions.count >= 2, part.count > 0 else {
                throw mismatch("\(part.name) is \(part.dimensions); a weight is [outFeatures, inFeatures]")
            }
            try checkBytes(part)
        }
        let inFeatures = first.count / first.dimensions[0]
        for part in parts where part.count / part.dimensions[0] != inFeatures {
            throw mismatch("\(part.name) has \(part.count / part.dimensions[0]) input features, \(first.name) has \(inFeatures)")
        }
        if combine == .gateUp {
            guard parts.count == 2, parts[0].dimensions[0] == parts[1].dimensions[0] else {
                throw mismatch(
                    "gate and up are two parts of equal size, not \(parts.map { "\($0.name) \($0.dimensions)" }.joined(separator: ", "))"
                )
            }
        }
        if let bias {
            guard bias.count == parts.count else {
                throw mismatch("\(bias.count) biases for the \(parts.count) parts of \(first.name)")
            }
            for case (let part, let bias?) in zip(parts, bias) where bias.count != part.dimensions[0] {
                throw mismatch("\(bias.name) is \(bias.dimensions), \(part.name) needs [\(part.dimensions[0])]")
            }
        }
        return (inFeatures, parts.reduce(0) { $0 + $1.dimensions[0] })
    }

    /// A small tensor's values.
    private func floats(_ tensor: HostTensor) throws -> [Float] {
        try checkBytes(tensor)
        let type = try sourceType(tensor)
        return [Float](unsafeUninitializedCapacity: tensor.count) { values, count in
            vlm_convert(
                instructionSet.isa, tensor.bytes.baseAddress, type, values.baseAddress, VLM_SOURCE_F32, tensor.count)
            count = tensor.count
        }
    }
}
