import Layers
package import Tensors

/// Runs every operation on two backends over odd shapes and compares the results: a device against the reference.
package struct KernelSelfTest {
    /// The worst difference of one operation.
    package struct Outcome: Sendable {
        package let operation: String
        /// ‖candidate − reference‖ / ‖reference‖
        package let relativeError: Double
        package let bound: Double
        package var passed: Bool { relativeError <= bound }
    }

    private let reference: any Backend
    private let candidate: any Backend
    /// Relative error that rounding explains, given the candidate's weight and cache types.
    private let bound: Double

    /// - Parameter bound: relative error allowed: about 1e-5 for float32, 1e-2 for bfloat16 operands.
    package init(reference: any Backend, candidate: any Backend, bound: Double) {
        self.reference = reference
        self.candidate = candidate
        self.bound = bound
    }

    /// An operation over a context: allocates, computes, returns what to compare.
    private typealias Body = (ForwardContext, Inputs) throws -> Tensor

    /// Inputs by name, the same numbers on both backends.
    private struct Inputs {
        let backend: any Backend
        let context: ForwardContext

        func tensor(_ shape: Shape, seed: Int, scale: Float = 1) throws -> Tensor {
            try context.upload(KernelSelfTest.values(shape.count, seed: seed, scale: scale), shape: shape)
        }

        func linear(_ outFeatures: Int, _ inFeatures: Int, seed: Int, combine: LinearWeight.Combine = .concatenated) throws
            -> LinearWeight
        {
            let parts = combine == .gateUp ? 2 : 1
            let weights = (0..<parts).map {
                KernelSelfTest.host([outFeatures / parts, inFeatures], seed: seed + $0, scale: 0.05)
            }
            let biases = (0..<parts).map { KernelSelfTest.host([outFeatures / parts], seed: seed + 10 + $0, scale: 0.5) }
            return try backend.makeLinear(weights, bias: biases, combine: combine)
        }
    }

    package func run() throws -> [Outcome] {
        var outcomes: [Outcome] = []
        for (name, body) in operations {
            outcomes.append(
                Outcome(
                    operation: name, relativeError: relativeError(try result(candidate, body), try result(reference, body)),
                    bound: bound))
        }
        return outcomes
    }

    private var operations: [(String, Body)] {
        var list: [(String, Body)] = []
        for rows in [1, 3, 67] {
            list.append(
                (
                    "linear \(rows)x333x129",
                    { context, inputs in
                        let out = try context.activations(Shape(rows, 129))
                        try context.backend.linear(
                            try inputs.tensor(Shape(rows, 333), seed: 1), try inputs.linear(129, 333, seed: 2), epilogue: .store,
                            into: out)
                        return out
                    }
                ))
        }
        list.append(
            (
                "linear gated silu",
                { context, inputs in
                    let out = try context.activations(Shape(19, 72))
                    try context.backend.linear(
                        try inputs.tensor(Shape(19, 96), seed: 3), try inputs.linear(144, 96, seed: 4, combine: .gateUp),
                        epilogue: .gated(.silu), into: out)
                    return out
                }
            ))
        for activation in [Activation.gelu, .geluTanh, .quickGELU, .silu, .relu] {
            list.append(
                (
                    "activate \(activation.rawValue)",
                    { context, inputs in
                        let x = try inputs.tensor(Shape(5, 131), seed: 5, scale: 3)
                        try context.backend.activate(x, activation)
                        return x
                    }
                ))
        }
        list.append(
            (
                "rmsNorm",
                { context, inputs in
                    let x = try inputs.tensor(Shape(7, 133), seed: 6)
                    try context.backend.rmsNorm(x, weight: try inputs.tensor(Shape(133), seed: 7), epsilon: 1e-6, into: x)
                    return x
                }
            ))
        list.append(
            (
                "layerNorm",
                { context, inputs in
                    let x = try inputs.tensor(Shape(7, 133), seed: 8)
                    try context.backend.layerNorm(
                        x, weight: try inputs.tensor(Shape(133), seed: 9), bias: try inputs.tensor(Shape(133), seed: 10),
                        epsilon: 1e-6, into: x)
                    return x
                }
            ))
        for style in [RotaryStyle.halves, .interleaved] {
            list.append(
                (
                    "rotate \(style)",
                    { context, inputs in
                        let x = try inputs.tensor(Shape(9, 3, 80), seed: 11)
                        try context.backend.rotate(
                            x, cosine: try inputs.tensor(Shape(9, 40), seed: 12), sine: try inputs.tensor(Shape(9, 40), seed: 13),
                            style: style)
                        return x
                    }
                ))
        }
        for headSize in [64, 80, 128] {
            list.append(
                (
                    "segmentedAttention E\(headSize)",
                    { context, inputs in
                        let segments: [Int32] = [0, 37, 101]
                        let out = try context.activations(Shape(101, 4, headSize))
                        try context.backend.segmentedAttention(
                            try inputs.tensor(out.shape, seed: 14), try inputs.tensor(Shape(101, 2, headSize), seed: 15),
                            try inputs.tensor(Shape(101, 2, headSize), seed: 16), segments: try context.upload(segments),
                            hostSegments: segments, options: AttentionOptions(scale: 0.1), into: out)
                        return out
                    }
                ))
            list.append(
                (
                    "pagedAttention E\(headSize)",
                    { context, inputs in
                        try KernelSelfTest.paged(context, headSize: headSize, tensor: { try inputs.tensor($0, seed: $1) })
                    }
                ))
        }
        return list
    }

    /// Two sequences, one in the middle of its prefill and one decoding, over shuffled blocks.
    private static func paged(_ context: ForwardContext, headSize: Int, tensor: (Shape, Int) throws -> Tensor) throws -> Tensor {
        let layout = KVCacheLayout(layers: 1, kvHeads: 2, headSize: headSize)
        let cache = try KVCache(layout: layout, blockCount: 6, blockSize: 32, backend: context.backend)
        let tables: [Int32] = [4, 1, 0, 5, 2, 3]
        let lengths: [Int32] = [70, 90]
        var slots: [Int32] = []
        for (sequence, length) in lengths.enumerated() {
            for position in 0..<Int(length) { slots.append(tables[sequence * 3 + position / 32] * 32 + Int32(position % 32)) }
        }
        try context.backend.writeCache(
            keys: try tensor(Shape(slots.count, 2, headSize), 17), values: try tensor(Shape(slots.count, 2, headSize), 18),
            slots: try context.upload(slots), cache: cache.layers[0])
        let starts: [Int32] = [0, 45, 46]
        let out = try context.activations(Shape(46, 6, headSize))
        let tableTensor = try context.upload(tables)
        try context.backend.pagedAttention(
            try tensor(out.shape, 19), cache: cache.layers[0],
            batch: PagedBatch(
                queryStarts: try context.upload(starts), contextLengths: try context.upload(lengths),
                blockTables: tableTensor.reshaped(Shape(2, 3)), hostQueryStarts: starts, hostContextLengths: lengths),
            options: AttentionOptions(scale: 0.1), into: out)
        // The cache must outlive the computation.
        try context.backend.synchronize()
        return withExtendedLifetime(cache) { out }
    }

    private func result(_ backend: any Backend, _ body: Body) throws -> [Float] {
        let context = ForwardContext(backend: backend, workspace: try Workspace(backend: backend, byteCount: 8 << 20))
        let tensor = try body(context, Inputs(backend: backend, context: context))
        var values = [Float](repeating: .nan, count: tensor.count)
        try values.withUnsafeMutableBytes { try backend.download(tensor, into: $0) }
        return values
    }

    private func relativeError(_ values: [Float], _ expected: [Float]) -> Double {
        var difference = 0.0
        var norm = 0.0
        for (value, reference) in zip(values, expected) {
            difference += Double(value - reference) * Double(value - reference)
            norm += Double(reference) * Double(reference)
        }
        return (difference / norm).squareRoot()
    }

    /// Seeded numbers between -scale and scale, an outlier every 97.
    private static func values(_ count: Int, seed: Int, scale: Float) -> [Float] {
        let random = RandomSource(seed: UInt64(seed))
        return (0..<count).map { Float(random.uniform(step: $0) * 2 - 1) * scale * ($0 % 97 == 96 ? 8 : 1) }
    }

    private static func host(_ dimensions: [Int], seed: Int, scale: Float) -> HostTensor {
        let owner = HostValues(values(dimensions.reduce(1, *), seed: seed, scale: scale))
        return HostTensor(
            name: "self-test", dtype: .float32, dimensions: dimensions, bytes: UnsafeRawBufferPointer(owner.buffer), owner: owner)
    }

    /// Keeps numbers at one address.
    private final class HostValues {
        let buffer: UnsafeMutableBufferPointer<Float>

        init(_ values: [Float]) {
            buffer = .allocate(capacity: values.count)
            _ = buffer.initialize(from: values)
        }

        deinit { buffer.deallocate() }
    }
}
