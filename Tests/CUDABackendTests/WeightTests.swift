import CUDABackend
import Tensors
import TestKit
import Testing

@Suite(.enabled(if: CUDA.hasDevice, "no GPU here")) struct WeightTests {
    let backend: CUDABackend

    init() throws { backend = try CUDABackend(activationType: .bfloat16, options: CUDA.options, libraries: CUDA.libraries) }

    private final class Memory {
        let bytes: UnsafeMutableRawBufferPointer
        init(_ count: Int) { bytes = .allocate(byteCount: max(count, 1), alignment: 64) }
        deinit { bytes.deallocate() }
    }

    private func host(_ name: String, _ dimensions: [Int], _ value: (Int) -> Float) -> HostTensor {
        let count = dimensions.reduce(1, *)
        let memory = Memory(count * 4)
        for i in 0..<count { memory.bytes.storeBytes(of: value(i), toByteOffset: i * 4, as: Float.self) }
        return HostTensor(
            name: name, dtype: .float32, dimensions: dimensions, bytes: UnsafeRawBufferPointer(memory.bytes), owner: memory)
    }

    private func floats(_ tensor: Tensor) throws -> [Float] {
        guard tensor.isContiguous else {
            // Rows with what fills them up to 16 bytes.
            let stride = tensor.rowStride
            let wide = try floats(Tensor(pointer: tensor.pointer, dtype: tensor.dtype, shape: Shape(tensor.rows, stride)))
            return (0..<tensor.rows).flatMap { wide[($0 * stride)..<($0 * stride + tensor.width)] }
        }
        if tensor.dtype == .float32 { return try words(tensor, Float.self) }
        return try words(tensor, UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
    }

    private func words<T>(_ tensor: Tensor, _ type: T.Type) throws -> [T] {
        guard tensor.isContiguous else {
            // Rows of a weight begin at multiples of 16 bytes; only contiguous tensors come to the host.
            let buffer = try backend.allocate(byteCount: tensor.byteCount, purpose: "test")
            let packed = Tensor(pointer: buffer.pointer, dtype: tensor.dtype, shape: tensor.shape)
            try backend.copy(tensor, into: packed)
            return try withExtendedLifetime(buffer) { try words(packed, type) }
        }
        let memory = Memory(tensor.byteCount)
        let bytes = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<tensor.byteCount])
        try backend.download(tensor, into: bytes)
        return withExtendedLifetime(memory) { Array(bytes.bindMemory(to: T.self)) }
    }

    /// Small integers are exact in every type.
    private func number(_ i: Int) -> Float { Float(i % 251) - 125 }

    @Test(arguments: [(3, 8), (17, 40), (5, 7), (1, 1)])
    func partsLieOneAfterTheOther(_ out: Int, _ inFeatures: Int) throws {
        let parts = [host("a", [out, inFeatures], number), host("b", [2 * out, inFeatures]) { number($0 + 100) }]
        let weight = try backend.makeLinear(
            parts, bias: [nil, host("c", [2 * out]) { Float($0) + 0.5 }], combine: .concatenated)
        #expect(weight.packed.shape == Shape(3 * out, inFeatures) && weight.outFeatures == 3 * out)
        let expected = (0..<out * inFeatures).map(number) + (0..<2 * out * inFeatures).map { number($0 + 100) }
        #expect(try floats(weight.packed) == expected)
        let bias = try #require(weight.bias)
        let biases = Array(repeating: Float(0), count: out) + (0..<2 * out).map { Float($0) + 0.5 }
        #expect(try floats(bias) == biases)
        #expect(try floats(#require(weight.shortBias)) == biases)
    }

    /// Groups of 16 rows: 8 of gate, the same 8 of up, zeros where a half has no more.
    @Test(arguments: [(8, 16), (19, 24), (3, 5)])
    func gateAndUpAlternateEveryEightRows(_ out: Int, _ inFeatures: Int) throws {
        let gate = host("gate", [out, inFeatures], number)
        let up = host("up", [out, inFeatures]) { number($0 + 31) }
        let weight = try backend.makeLinear(
            [gate, up], bias: [host("g", [out]) { Float($0) }, host("u", [out]) { -Float($0) }], combine: .gateUp)
        let rows = (out + 7) / 8 * 16
        #expect(weight.packed.shape == Shape(rows, inFeatures) && weight.outFeatures == 2 * out)
        let values = try floats(weight.packed)
        let bias = try floats(#require(weight.bias))
        for row in 0..<rows {
            let feature = row / 16 * 8 + row % 8
            let isUp = row % 16 >= 8
            let expected = (0..<inFeatures).map {
                feature < out ? number(feature * inFeatures + $0 + (isUp ? 31 : 0)) : 0
            }
            #expect(Array(values[row * inFeatures..<(row + 1) * inFeatures]) == expected, "row \(row)")
            #expect(bias[row] == (feature < out ? Float(isUp ? -feature : feature) : 0))
        }
    }

    @Test func aTensorLongerThanAChunkArrivesWhole() throws {
        // 20 MB: three chunks.
        let source = host("long", [5 << 20]) { Float($0) }
        let (tensor, owner) = try backend.makeTensor(source, dtype: .float32)
        let values = try withExtendedLifetime(owner) { try floats(tensor) }
        #expect(values.indices.allSatisfy { values[$0] == Float($0) })
    }

    @Test func elementsThatAreNotFiniteAreNamed() throws {
        _ = try backend.makeTensor(host("good", [100], number), dtype: .float32)
        _ = try backend.makeTensor(host("bad", [100]) { $0 == 41 || $0 == 77 ? .nan : 1 }, dtype: .float32)
        _ = try backend.makeLinear(
            [host("infinite", [3 << 10, 1 << 10]) { $0 == (3 << 20) - 1 ? -.infinity : 1 }], bias: nil, combine: .concatenated)
        #expect(
            try backend.finishLoading() == [
                NonFiniteTensor(name: "bad", position: 41), NonFiniteTensor(name: "infinite", position: (3 << 20) - 1),
            ])
        #expect(try backend.finishLoading() == [])
    }

    @Test(arguments: [[64, 48], [33, 7]]) func dummyNumbersAreTheHostsBitForBit(_ dimensions: [Int]) throws {
        let count = dimensions.reduce(1, *)
        for recipe in [HostRecipe(deviation: 0.02, key: 0xFEDC_BA98_7654_3210), HostRecipe(.constant(0.3))] {
            let memory = Memory(count * 2)
            let source = HostTensor(
                name: "dummy", dtype: .bfloat16, dimensions: dimensions,
                bytes: UnsafeRawBufferPointer(rebasing: memory.bytes[..<(count * 2)]), owner: memory, recipe: recipe)
            let (tensor, owner) = try backend.makeTensor(source, dtype: .bfloat16)
            let made = try withExtendedLifetime(owner) { try words(tensor, UInt16.self) }
            #expect(made == source.withBytes { Array($0.bindMemory(to: UInt16.self)) })
        }
    }

    @Test func otherTypesAreCopied() throws {
        let memory = Memory(40)
        for i in 0..<10 { memory.bytes.storeBytes(of: Int32(i - 5), toByteOffset: i * 4, as: Int32.self) }
        let source = HostTensor(
            name: "indices", dtype: .int32, dimensions: [10], bytes: UnsafeRawBufferPointer(rebasing: memory.bytes[..<40]),
            owner: memory)
        let (tensor, owner) = try backend.makeTensor(source, dtype: .int32)
        #expect(try withExtendedLifetime(owner) { try words(tensor, Int32.self) } == (0..<10).map { Int32($0 - 5) })
        let error = #expect(throws: TensorError.self) { try backend.makeTensor(source, dtype: .float32) }
        #expect(error?.kind == .unsupported)
        #expect(throws: TensorError.self) { try backend.makeLinear([], bias: nil, combine: .concatenated) }
    }
}
