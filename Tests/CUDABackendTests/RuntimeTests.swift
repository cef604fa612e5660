import CUDABackend
import Foundation
import Tensors
import Testing

@Suite(.enabled(if: CUDA.hasDevice, "no GPU here")) struct RuntimeTests {
    let backend: CUDABackend

    init() throws { backend = try CUDABackend(activationType: .float32, options: CUDA.options, libraries: CUDA.libraries) }

    private func tensor(_ count: Int, _ dtype: DType = .int32) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        let buffer = try backend.allocate(byteCount: count * dtype.size, purpose: "test")
        return (Tensor(pointer: buffer.pointer, dtype: dtype, shape: Shape(count)), buffer)
    }

    private func values(_ tensor: Tensor) throws -> [Int32] {
        var values = [Int32](repeating: -1, count: tensor.count)
        try values.withUnsafeMutableBytes { try backend.download(tensor, into: $0) }
        return values
    }

    @Test func memoryIsZeroAndBytesComeBack() throws {
        for count in [1, 1000, 3 << 20] {
            let (tensor, owner) = try tensor(count)
            #expect(try values(tensor).allSatisfy { $0 == 0 })
            var sent = (0..<Int32(count)).map { $0 &* 7 }
            try sent.withUnsafeBytes { try backend.upload($0, to: tensor) }
            let original = sent
            // The caller's memory is free again at once.
            for i in sent.indices { sent[i] = 0 }
            let back = try withExtendedLifetime(owner) { try values(tensor) }
            #expect(back.elementsEqual(original), "\(count) numbers")
        }
    }

    @Test func manySmallUploadsGoAroundTheRing() throws {
        let (tensor, owner) = try tensor(1 << 16)
        for round in 0..<200 {
            let sent = [Int32](repeating: Int32(round), count: 1 << 16)
            try sent.withUnsafeBytes { try backend.upload($0, to: tensor) }
        }
        #expect(try withExtendedLifetime(owner) { try values(tensor) }.allSatisfy { $0 == 199 })
    }

    /// Also where a row does not fit into what is left of the staging memory.
    @Test(arguments: [(3, 5, 8), (700, 1001, 1008), (3, 5 << 20, (5 << 20) + 64)])
    func stridedRowsComeBackTogether(rows: Int, width: Int, stride: Int) throws {
        let (flat, owner) = try tensor(rows * stride)
        let sent = (0..<Int32(rows * stride)).map { $0 &* 7 }
        try sent.withUnsafeBytes { try backend.upload($0, to: flat) }
        let part = flat.reshaped(Shape(rows, stride)).columns(0..<width)
        let back = try withExtendedLifetime(owner) { try values(part) }
        #expect(
            (0..<rows).allSatisfy { back[$0 * width..<($0 + 1) * width].elementsEqual(sent[$0 * stride..<$0 * stride + width]) })
    }

    @Test func wrongSizesAreRefused() throws {
        let (tensor, owner) = try tensor(4)
        var bytes = [UInt8](repeating: 0, count: 15)
        #expect(throws: TensorError.self) { try bytes.withUnsafeBytes { try backend.upload($0, to: tensor) } }
        #expect(throws: TensorError.self) { try bytes.withUnsafeMutableBytes { try backend.download(tensor, into: $0) } }
        withExtendedLifetime(owner) {}
    }

    @Test func tooMuchMemoryIsAnErrorThatSaysWhatIsFree() throws {
        let error = #expect(throws: CUDAError.self) { try backend.allocate(byteCount: 1 << 42, purpose: "the KV cache") }
        #expect(error?.kind == .outOfMemory)
        #expect(error?.detail.contains("4096.0 GB for the KV cache") == true && error?.detail.contains("free of") == true)
        // The backend goes on working.
        let (tensor, owner) = try tensor(8)
        #expect(try withExtendedLifetime(owner) { try values(tensor) }.count == 8)
    }

    @Test func buffersMayBeLetGoOnAnyThread() async throws {
        struct Box: @unchecked Sendable { let buffers: [any DeviceBuffer] }  // given away, not shared
        var buffers: [any DeviceBuffer] = []
        for _ in 0..<64 { buffers.append(try backend.allocate(byteCount: 1 << 16, purpose: "test")) }
        let box = Box(buffers: buffers)
        buffers = []
        await Task.detached { _ = box }.value
        try backend.synchronize()
    }

    @Test func marksTellThatTheirWorkIsDone() throws {
        let first = try backend.mark()
        let (tensor, owner) = try tensor(1 << 20)
        let last = try backend.mark()
        try last.wait()
        #expect(try last.seconds(since: first) >= 0)
        withExtendedLifetime((tensor, owner)) {}
    }

    /// A recorded copy repeats with whatever its operands hold.
    @Test func recordedWorkIsReplayed() throws {
        let (source, sourceOwner) = try tensor(1024, .float32)
        let (out, outOwner) = try tensor(1024, .float32)
        try backend.copy(source, into: out)
        let work = try backend.record {
            try backend.copy(source, into: out)
            #expect(throws: TensorError.self) { try backend.allocate(byteCount: 16, purpose: "test") }
            #expect(throws: TensorError.self) { try backend.synchronize() }
        }
        for round in 1...3 {
            let sent = [Float](repeating: Float(round), count: 1024)
            try sent.withUnsafeBytes { try backend.upload($0, to: source) }
            try backend.replay(work)
            var got = [Float](repeating: 0, count: 1024)
            try got.withUnsafeMutableBytes { try backend.download(out, into: $0) }
            #expect(got.allSatisfy { $0 == Float(round) }, "round \(round)")
        }
        withExtendedLifetime((sourceOwner, outOwner)) {}
    }

    @Test func aFailedRecordingLeavesTheBackendUsable() throws {
        struct Stop: Error {}
        #expect(throws: Stop.self) { try backend.record { throw Stop() } }
        try backend.synchronize()
        #expect(!backend.properties.name.isEmpty && backend.properties.major >= 8)
        #expect(try backend.freeBytes() > 0)
    }
}
