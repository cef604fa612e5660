import Layers
import Tensors

/// Makes the operands of one self-test on one backend: the same numbers on every backend.
final class SelfTestOperands {
    let context: ForwardContext
    /// Numbers are rounded to this type wherever they come to rest.
    let type: DType
    var backend: any Backend { context.backend }
    private var owners: [AnyObject] = []
    private var guards: [Tensor] = []

    private static let guardBytes = 256

    init(_ context: ForwardContext, type: DType) {
        self.context = context
        self.type = type
    }

    /// Keeps what a body made until its results are read.
    func keep(_ owner: AnyObject) { owners.append(owner) }

    // MARK: Inputs

    /// Numbers in the backend's activation type.
    func activations(_ shape: Shape, seed: Int, scale: Float = 1) throws -> Tensor {
        try context.uploadActivations(rounded(shape.count, seed: seed, scale: scale), shape: shape)
    }

    /// Numbers in float32: norms, tables, scales.
    func parameters(_ shape: Shape, seed: Int, scale: Float = 1) throws -> Tensor {
        try context.upload(SelfTestOperands.numbers(shape.count, seed: seed, scale: scale), shape: shape)
    }

    /// The numbers of ``parameters(_:seed:scale:)`` as a checkpoint gives them.
    func hostParameters(_ count: Int, seed: Int) -> HostTensor {
        SelfTestOperands.host(SelfTestOperands.numbers(count, seed: seed), [count])
    }

    func linear(
        _ outFeatures: Int, _ inFeatures: Int, seed: Int, combine: LinearWeight.Combine = .concatenated, bias: Bool = true
    ) throws -> LinearWeight {
        let parts = combine == .gateUp ? 2 : 1
        // Sums keep about the size of the inputs, whatever their number.
        let scale = 1 / Float(inFeatures).squareRoot()
        let weights = (0..<parts).map { host([outFeatures / parts, inFeatures], seed: seed + $0, scale: scale) }
        let biases = (0..<parts).map { host([outFeatures / parts], seed: seed + 10 + $0, scale: 0.5) }
        return try backend.makeLinear(weights, bias: bias ? biases : nil, combine: combine)
    }

    /// A table of `dtype` whose numbers every floating type holds exactly.
    func table(_ rows: Int, _ width: Int, dtype: DType) throws -> Tensor {
        let values = (0..<rows * width).map { Float($0 &* 37 % 127 - 63) / 64 }
        let (tensor, owner) = try backend.makeTensor(SelfTestOperands.host(values, [rows, width]), dtype: dtype)
        keep(owner)
        return tensor
    }

    /// `[count]` uint8, all values, long runs of the largest and the smallest among them.
    func bytes(_ count: Int, seed: Int) throws -> Tensor {
        let numbers = SelfTestOperands.numbers(count, seed: seed, scale: 200)
        let tensor = try context.workspace.allocate(Shape(count), dtype: .uint8)
        try context.upload(numbers.map { UInt8(clamping: Int($0) + 128) }, to: tensor)
        return tensor
    }

    // MARK: Outputs

    /// A tensor of NaNs with a guard behind it.
    func output(_ shape: Shape, dtype: DType? = nil) throws -> Tensor {
        let dtype = dtype ?? backend.activationType
        let bytes = shape.count * dtype.size
        let whole = try context.workspace.allocate(Shape(bytes + SelfTestOperands.guardBytes), dtype: .uint8)
        try [UInt8](repeating: 0xFF, count: whole.byteCount).withUnsafeBytes { try backend.upload($0, to: whole) }
        guards.append(Tensor(pointer: whole.pointer + bytes, dtype: .uint8, shape: Shape(SelfTestOperands.guardBytes)))
        return Tensor(pointer: whole.pointer, dtype: dtype, shape: shape)
    }

    /// A strided tensor's rows, side by side.
    func contiguous(_ tensor: Tensor) throws -> Tensor {
        let out = try context.workspace.allocate(tensor.shape, dtype: tensor.dtype)
        try backend.copy(tensor, into: out)
        return out
    }

    /// - Throws: ``TensorError`` when something was written behind an output.
    func checkGuards() throws {
        for each in guards {
            var bytes = [UInt8](repeating: 0, count: SelfTestOperands.guardBytes)
            try bytes.withUnsafeMutableBytes { try backend.download(each, into: $0) }
            guard bytes.allSatisfy({ $0 == 0xFF }) else {
                throw TensorError(.deviceFailure, operation: "self-test", detail: "memory behind the output was written")
            }
        }
    }

    /// A contiguous tensor's elements as float32.
    func values(of tensor: Tensor) throws -> [Float] {
        var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
        try bytes.withUnsafeMutableBytes { try backend.download(tensor, into: $0) }
        return bytes.withUnsafeBytes { bytes in
            (0..<tensor.count).map { index in
                switch tensor.dtype {
                case .float16: Float(Float16(bitPattern: bytes.load(fromByteOffset: 2 * index, as: UInt16.self)))
                case .bfloat16: Float(bitPattern: UInt32(bytes.load(fromByteOffset: 2 * index, as: UInt16.self)) << 16)
                case .uint8: Float(bytes[index])
                case .int32: Float(bytes.load(fromByteOffset: 4 * index, as: Int32.self))
                default: bytes.load(fromByteOffset: 4 * index, as: Float.self)
                }
            }
        }
    }

    // MARK: Numbers

    /// Seeded numbers between -scale and scale, an outlier every 97.
    static func numbers(_ count: Int, seed: Int, scale: Float = 1) -> [Float] {
        let random = RandomSource(seed: UInt64(seed))
        return (0..<count).map { Float(random.uniform(step: $0) * 2 - 1) * scale * ($0 % 97 == 96 ? 8 : 1) }
    }

    func rounded(_ count: Int, seed: Int, scale: Float) -> [Float] {
        let numbers = SelfTestOperands.numbers(count, seed: seed, scale: scale)
        switch type {
        case .float16: return numbers.map { Float(Float16($0)) }
        case .bfloat16: return numbers.map(SelfTestOperands.bfloat16)
        default: return numbers
        }
    }

    /// The nearest bfloat16 of a finite number, ties to even.
    private static func bfloat16(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) & 0xFFFF_0000)
    }

    private func host(_ dimensions: [Int], seed: Int, scale: Float) -> HostTensor {
        SelfTestOperands.host(rounded(dimensions.reduce(1, *), seed: seed, scale: scale), dimensions)
    }

    private static func host(_ values: [Float], _ dimensions: [Int]) -> HostTensor {
        let owner = HostValues(values)
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
