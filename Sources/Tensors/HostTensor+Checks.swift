// What every backend asks of a checkpoint's tensors before it places them.

extension HostTensor {
    /// The shape that the tensor has on a device.
    ///
    /// - Throws: ``TensorError`` of kind `shapeMismatch` for more than four axes.
    package func deviceShape() throws(TensorError) -> Shape {
        switch dimensions.count {
        case 0: return Shape(1)
        case 1: return Shape(dimensions[0])
        case 2: return Shape(dimensions[0], dimensions[1])
        case 3: return Shape(dimensions[0], dimensions[1], dimensions[2])
        case 4: return Shape(dimensions[0], dimensions[1], dimensions[2], dimensions[3])
        default:
            throw TensorError(
                .shapeMismatch, operation: "make tensor", detail: "\(name) has \(dimensions.count) axes, at most 4 work")
        }
    }

    /// - Throws: ``TensorError`` of kind `shapeMismatch` when there are not as many bytes as the dimensions need.
    package func checkBytes() throws(TensorError) {
        guard byteCount == count * dtype.size else {
            throw TensorError(
                .shapeMismatch, operation: "make tensor",
                detail: "\(name) \(dimensions) of \(dtype.rawValue) needs \(count * dtype.size) bytes, \(byteCount) are there")
        }
    }

    /// - Throws: ``TensorError`` of kind `unsupported` for a type that products are not made of.
    fileprivate func checkIsWeight() throws(TensorError) {
        guard [.float32, .float16, .bfloat16].contains(dtype) else {
            throw TensorError(
                .unsupported, operation: "make linear",
                detail: "\(name) is \(dtype.rawValue); weights of products are float32, float16 or bfloat16")
        }
        try checkBytes()
    }
}

extension LinearWeight {
    /// Checks that parts and their biases fit together; see ``Backend/makeLinear(_:bias:combine:)``.
    ///
    /// - Returns: the features of the whole.
    /// - Throws: ``TensorError`` naming the tensors that do not fit.
    package static func check(
        _ parts: [HostTensor], bias: [HostTensor?]?, combine: Combine
    ) throws(TensorError) -> (inFeatures: Int, outFeatures: Int) {
        func mismatch(_ detail: String) -> TensorError { TensorError(.shapeMismatch, operation: "make linear", detail: detail) }
        guard let first = parts.first else { throw mismatch("a linear weight needs at least one part") }
        for part in parts {
            guard part.dimensions.count >= 2, part.count > 0 else {
                throw mismatch("\(part.name) is \(part.dimensions); a weight is [outFeatures, inFeatures]")
            }
            try part.checkIsWeight()
        }
        let inFeatures = first.count / first.dimensions[0]
        for part in parts where part.count / part.dimensions[0] != inFeatures {
            throw mismatch("\(part.name) has \(part.count / part.dimensions[0]) input features, \(first.name) has \(inFeatures)")
        }
        if combine == .gateUp, parts.count != 2 || parts[0].dimensions[0] != parts[1].dimensions[0] {
            let given = parts.map { "\($0.name) \($0.dimensions)" }.joined(separator: ", ")
            throw mismatch("gate and up are two parts of equal size, not \(given)")
        }
        if let bias {
            guard bias.count == parts.count else {
                throw mismatch("\(bias.count) biases for the \(parts.count) parts of \(first.name)")
            }
            for case (let part, let bias?) in zip(parts, bias) {
                guard bias.count == part.dimensions[0] else {
                    throw mismatch("\(bias.name) is \(bias.dimensions), \(part.name) needs [\(part.dimensions[0])]")
                }
                try bias.checkIsWeight()
            }
        }
        return (inFeatures, parts.reduce(0) { $0 + $1.dimensions[0] })
    }
}
