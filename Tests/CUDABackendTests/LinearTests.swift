import CUDABackend
import TestKit
import Tensors
import Testing

/// Products on the GPU against float64 ones of the same rounded operands, by every way they can take.
@Suite(.serialized, .enabled(if: CUDA.hasDevice, "no NVIDIA GPU here"))
struct LinearTests {
    static let types: [DType] = [.float32, .float16, .bfloat16]

    enum Finish: CaseIterable { case store, accumulate, scaledAccumulate, activation, gated }

    /// Rows decide the kernel (few, many), features whether copies of 16 bytes are possible.
    static let shapes: [(rows: Int, inFeatures: Int, outFeatures: Int)] = [
        (1, 1544, 210), (2, 64, 5), (8, 1000, 48), (9, 4104, 130), (16, 520, 34),  // skinny
        (3, 33, 18), (40, 7, 100),  // generic
        (17, 256, 64), (130, 520, 200), (64, 1000, 46),  // tensor cores
        (331, 588, 1024), (300, 1024, 512),  // the library
    ]

    @Test(arguments: types, Finish.allCases)
    func matchesReference(type: DType, finish: Finish) throws {
        let device = try CUDABackend(activationType: type, options: CUDA.options, libraries: CUDA.libraries)
        let reference = ReferenceBackend()
        var noise = Noise(seed: 7)
        for shape in Self.shapes {
            for outType in Set([type, .float32]) {
                // The epilogues that add to what is there are asked for in the activation type only.
                if outType != type, finish != .store { continue }
                let problem = Problem(shape, type: type, finish: finish, noise: &noise)
                let expected = try problem.solve(on: reference, type: .float32, outType: .float32)
                let bound = outType == .float32 ? (type == .float32 ? 2e-6 : 1e-4) : type == .float16 ? 6e-4 : 5e-3
                for path in [nil, LinearPath.library, .hopper] {
                    device.linearPath = path
                    let values = try problem.solve(on: device, type: type, outType: outType)
                    #expect(
                        relativeL2(values, expected) < bound,
                        "\(shape) into \(outType) by \(path?.rawValue ?? "the kernels that are chosen")")
                }
            }
        }
    }

    /// What a row gives does not depend on how many others there are, and a run repeats bit by bit.
    @Test(arguments: types)
    func fewRowsAreIndependent(type: DType) throws {
        let device = try CUDABackend(activationType: type, options: CUDA.options, libraries: CUDA.libraries)
        var noise = Noise(seed: 9)
        let problem = Problem((16, 3584, 1040), type: type, finish: .store, noise: &noise)
        let all = try problem.solve(on: device, type: type, outType: type)
        for rows in [1, 2, 8, 9, 15, 16] {
            let some = try problem.first(rows).solve(on: device, type: type, outType: type)
            #expect(some == Array(all[..<some.count]), "\(rows) rows")
        }
    }

    @Test(arguments: types)
    func normIsFused(type: DType) throws {
        let device = try CUDABackend(activationType: type, options: CUDA.options, libraries: CUDA.libraries)
        let reference = ReferenceBackend()
        var noise = Noise(seed: 11)
        for shape in [(1, 1536, 200), (5, 776, 48), (16, 512, 33)] {
            let problem = Problem(shape, type: type, finish: .store, noise: &noise)
            let weights = HostArray((0..<shape.1).map { _ in 1 + noise.uniform() / 2 }, [shape.1], .float32)
            func solve(_ backend: some Backend, _ type: DType) throws -> [Float] {
                let norm = try backend.makeTensor(weights.tensor, dtype: .float32)
                return try problem.solve(on: backend, type: type, outType: .float32) { x, weight, epilogue, out in
                    if try backend.linear(
                        rmsNormed: x, normWeight: norm.tensor, epsilon: 1e-6, weight, epilogue: epilogue, into: out)
                    {
                        return
                    }
                    #expect(type == .float32, "\(shape) of \(type) has a fused kernel")
                    try backend.rmsNorm(x, weight: norm.tensor, epsilon: 1e-6, into: x)
                    try backend.linear(x, weight, epilogue: epilogue, into: out)
                }
            }
            // The normalised values are rounded to the activation type, which the reference does not do.
            let bound = type == .float32 ? 2e-6 : type == .float16 ? 6e-4 : 5e-3
            #expect(try relativeL2(solve(device, type), solve(reference, .float32)) < bound, "\(shape)")
        }
    }

    @Test func wrongOperandsAreRefused() throws {
        let device = try CUDABackend(activationType: .bfloat16, options: CUDA.options, libraries: CUDA.libraries)
        var noise = Noise(seed: 13)
        let problem = Problem((2, 64, 32), type: .bfloat16, finish: .store, noise: &noise)
        #expect(throws: TensorError.self) { try problem.solve(on: device, type: .float32, outType: .float32) }
        let gated = Problem((2, 64, 32), type: .bfloat16, finish: .gated, noise: &noise)
        #expect(throws: TensorError.self) {
            try gated.solve(on: device, type: .bfloat16, outType: .bfloat16) { x, weight, _, out in
                try device.linear(x, weight, epilogue: .store, into: out)
            }
        }
    }
}

/// Small reproducible numbers.
struct Noise {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    /// -1 ..< 1
    mutating func uniform() -> Float { Float.random(in: -1..<1, using: &generator) }
}

/// Host values of one type with the tensor a checkpoint would give.
private final class HostArray {
    let tensor: HostTensor
    private final class Bytes {
        let pointer: UnsafeMutableRawBufferPointer
        init(_ count: Int) { pointer = .allocate(byteCount: max(count, 1), alignment: 16) }
        deinit { pointer.deallocate() }
    }

    init(_ values: [Float], _ dimensions: [Int], _ type: DType) {
        let bytes = Bytes(values.count * type.size)
        if let base = bytes.pointer.baseAddress {
            let flat = Tensor(pointer: base, dtype: type, shape: Shape(values.count))
            for (index, value) in values.enumerated() { flat.setFlat(index, Double(value)) }
        }
        tensor = HostTensor(
            name: "values", dtype: type, dimensions: dimensions,
            bytes: UnsafeRawBufferPointer(rebasing: bytes.pointer[..<(values.count * type.size)]), owner: bytes)
    }
}

/// One product: operands in the type under test, to be solved on any backend.
private struct Problem {
    let rows, inFeatures, outFeatures: Int
    let type: DType
    let finish: LinearTests.Finish
    let x, old, scale: [Float]
    let parts: [HostArray]
    let bias: HostArray

    init(_ shape: (Int, Int, Int), type: DType, finish: LinearTests.Finish, noise: inout Noise) {
        let (rows, inFeatures, outFeatures) = shape
        func numbers(_ count: Int, _ scale: Float = 1) -> [Float] { (0..<count).map { _ in noise.uniform() * scale } }
        self.rows = rows
        self.inFeatures = inFeatures
        self.outFeatures = outFeatures
        self.type = type
        self.finish = finish
        x = numbers(rows * inFeatures)
        old = numbers(rows * outFeatures)
        scale = numbers(outFeatures)
        let root = 1 / Float(inFeatures).squareRoot()
        parts = (0..<(finish == .gated ? 2 : 1)).map { _ in
            HostArray(numbers(outFeatures * inFeatures, root), [outFeatures, inFeatures], type)
        }
        bias = HostArray(numbers(outFeatures), [outFeatures], type)
    }

    private init(_ other: Problem, rows: Int) {
        self.rows = rows
        (inFeatures, outFeatures, type, finish) = (other.inFeatures, other.outFeatures, other.type, other.finish)
        (x, old, scale) = (Array(other.x[..<(rows * inFeatures)]), Array(other.old[..<(rows * outFeatures)]), other.scale)
        (parts, bias) = (other.parts, other.bias)
    }

    func first(_ rows: Int) -> Problem { Problem(self, rows: rows) }

    /// The first part has a bias, which leaves the second of a gate and up without.
    @discardableResult
    func solve<B: Backend>(
        on backend: B, type: DType, outType: DType,
        by operation: ((Tensor, LinearWeight, LinearEpilogue, Tensor) throws -> Void)? = nil
    ) throws -> [Float] {
        let weight = try backend.makeLinear(
            parts.map(\.tensor), bias: finish == .gated ? [bias.tensor, nil] : [bias.tensor],
            combine: finish == .gated ? .gateUp : .concatenated)
        // Rounded to the type under test first, so that every backend multiplies the same numbers.
        let rounded = HostArray(x, [rows, inFeatures], self.type)
        let input = try backend.makeTensor(rounded.tensor, dtype: type)
        let result = try backend.makeTensor(HostArray(old, [rows, outFeatures], self.type).tensor, dtype: outType)
        let factors = try backend.makeTensor(HostArray(scale, [outFeatures], .float32).tensor, dtype: .float32)
        _ = try backend.finishLoading()
        let epilogue: LinearEpilogue =
            switch finish {
            case .store: .store
            case .accumulate: .accumulate
            case .scaledAccumulate: .scaledAccumulate(scale: factors.tensor)
            case .activation: .activation(.gelu)
            case .gated: .gated(.silu)
            }
        try withExtendedLifetime((input.owner, result.owner, factors.owner)) {
            if let operation {
                try operation(input.tensor, weight, epilogue, result.tensor)
            } else {
                try backend.linear(input.tensor, weight, epilogue: epilogue, into: result.tensor)
            }
        }
        return try withExtendedLifetime(result.owner) { try read(result.tensor, on: backend) }
    }

    private func read(_ tensor: Tensor, on backend: some Backend) throws -> [Float] {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: tensor.byteCount, alignment: 16)
        defer { bytes.deallocate() }
        try backend.download(tensor, into: bytes)
        guard let base = bytes.baseAddress else { return [] }
        return Tensor(pointer: base, dtype: tensor.dtype, shape: tensor.shape).values
    }
}
