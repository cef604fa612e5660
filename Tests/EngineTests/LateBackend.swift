import Engine
import Foundation
import Tensors
import TestKit

/// A backend that computes nothing until somebody waits: what a GPU does, at its laziest.
///
/// Work that is read, overwritten or freed too early by the host gives wrong answers here every time, not once in a while.
final class LateBackend: AsynchronousBackend {
    private let reference = ReferenceBackend()
    private var queue: [() throws -> Void] = []
    /// Jobs that ever left the queue.
    private var done = 0
    private var recording: [() throws -> Void]?
    private(set) var recordedCount = 0
    private(set) var replayCount = 0
    /// Tensors that the host has read, by their number of elements.
    private(set) var downloads: [Int] = []

    var device: Device { .cuda(0) }
    var activationType: DType { .float32 }
    var cacheType: DType { .float32 }

    /// Runs `work` when the backend gets to it: at once on any other backend.
    static func run(on backend: any Backend, _ work: @escaping () throws -> Void) throws {
        guard let late = backend as? LateBackend else { return try work() }
        late.enqueue(work)
    }

    func enqueue(_ work: @escaping () throws -> Void) {
        if recording != nil { recording?.append(work) } else { queue.append(work) }
    }

    private func drain(to end: Int) throws {
        while done < end, !queue.isEmpty {
            let job = queue.removeFirst()
            done += 1
            try job()
        }
    }

    private func drain() throws { try drain(to: done + queue.count) }

    func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer {
        Buffer(try reference.allocate(byteCount: byteCount, purpose: purpose), of: self)
    }

    /// Memory that is given back in the order of the stream, as a device's is.
    private final class Buffer: DeviceBuffer {
        private let memory: any DeviceBuffer
        private let backend: LateBackend
        var pointer: UnsafeMutableRawPointer { memory.pointer }
        var byteCount: Int { memory.byteCount }

        init(_ memory: any DeviceBuffer, of backend: LateBackend) {
            self.memory = memory
            self.backend = backend
        }

        deinit { backend.enqueue { [memory] in _ = memory } }
    }

    func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
        let copy = Array(bytes)
        enqueue {
            copy.withUnsafeBytes { if let start = $0.baseAddress { tensor.pointer.copyMemory(from: start, byteCount: $0.count) } }
        }
    }

    func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
        downloads.append(tensor.count)
        try drain()
        try reference.download(tensor, into: bytes)
    }

    func copy(_ source: Tensor, into out: Tensor) throws { enqueue { [reference] in try reference.copy(source, into: out) } }
    func synchronize() throws { try drain() }

    // MARK: Recording

    private final class Recording: RecordedWork {
        let jobs: [() throws -> Void]
        init(_ jobs: [() throws -> Void]) { self.jobs = jobs }
    }

    private final class Mark: StreamMark {
        let backend: LateBackend
        let end: Int

        init(_ backend: LateBackend) {
            self.backend = backend
            end = backend.done + backend.queue.count
        }

        func wait() throws { try backend.drain(to: end) }
        func seconds(since earlier: any StreamMark) throws -> Double { 0.5 }
    }

    func record(_ body: () throws -> Void) throws -> any RecordedWork {
        recording = []
        defer { recording = nil }
        try body()
        recordedCount += 1
        return Recording(recording ?? [])
    }

    func replay(_ work: any RecordedWork) throws {
        guard let recording = work as? Recording else { throw TensorError(.unsupported, operation: "replay", detail: "foreign") }
        replayCount += 1
        for job in recording.jobs { enqueue(job) }
    }

    func mark() throws -> any StreamMark { Mark(self) }

    func makeSampler(lanes: Int, vocabularySize: Int) throws -> any DeviceSampler {
        LateSampler(self, lanes: lanes, vocabularySize: vocabularySize)
    }

    // MARK: What these tests' models do not use

    private func unsupported(_ operation: String) -> TensorError {
        TensorError(.unsupported, operation: operation, detail: "not needed in these tests")
    }

    func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight {
        throw unsupported("makeLinear")
    }
    func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        throw unsupported("makeTensor")
    }
    func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {
        throw unsupported("linear")
    }
    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws { throw unsupported("rmsNorm") }
    func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {
        throw unsupported("layerNorm")
    }
    func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws { throw unsupported("rotate") }
    func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) throws { throw unsupported("rotaryTables") }
    func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {
        throw unsupported("writeCache")
    }
    func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws { throw unsupported("pagedAttention") }
    func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws { throw unsupported("segmentedAttention") }
    func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws {
        throw unsupported("gatherRows")
    }
    func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws { throw unsupported("scatterRows") }
    func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws {
        throw unsupported("resample")
    }
    func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) throws { throw unsupported("patchRows") }
    func add(_ x: Tensor, into out: Tensor) throws { throw unsupported("add") }
    func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws { throw unsupported("addRows") }
    func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws {
        throw unsupported("addRows")
    }
    func activate(_ x: Tensor, _ activation: Activation) throws { throw unsupported("activate") }
    func scale(_ x: Tensor, by factor: Float) throws { throw unsupported("scale") }
}

/// The host's sampler, run late.
final class LateSampler: DeviceSampler {
    private let backend: LateBackend
    private let owners: [any DeviceBuffer]
    private var history: [TokenHistory]
    /// Lanes that began with counts since their last owner.
    private var counts: [Bool]
    private let memory: UnsafeMutablePointer<Int32>

    let newest: Tensor
    let masks: Tensor
    let resultCount: Int
    var results: UnsafePointer<Int32> { UnsafePointer(memory) }

    init(_ backend: LateBackend, lanes: Int, vocabularySize: Int) {
        self.backend = backend
        let words = (vocabularySize + 31) / 32
        owners = [4 * lanes, 4 * lanes * words].map { ReferenceBackend().allocateOrEmpty($0) }
        newest = Tensor(pointer: owners[0].pointer, dtype: .int32, shape: Shape(lanes))
        masks = Tensor(pointer: owners[1].pointer, dtype: .int32, shape: Shape(lanes, words))
        history = Array(repeating: TokenHistory(), count: lanes)
        counts = Array(repeating: false, count: lanes)
        resultCount = 4 * lanes
        memory = .allocate(capacity: resultCount)
        memory.initialize(repeating: -7, count: resultCount)
    }

    deinit { memory.deallocate() }

    func begin(lane: Int, tokens: [Int32], counted: ArraySlice<Int32>?) throws {
        var history = TokenHistory()
        tokens.forEach { history.read($0) }
        counted?.forEach { history.generated($0) }
        backend.enqueue { [history] in
            self.history[lane] = history
            self.counts[lane] = counted != nil
        }
    }

    func sample(_ logits: Tensor, rows: Tensor, kind: SamplingKind) throws {
        backend.enqueue {
            for row in 0..<logits.rows {
                let words = rows.int32s + row * SamplingRow.words
                let (lane, result, mask) = (Int(words[0]), Int(words[9]), Int(words[12]))
                guard lane >= 0 else { continue }
                func float(_ index: Int) -> Float { Float(bitPattern: UInt32(bitPattern: words[index])) }
                var config = GenerationConfig(temperature: float(1), topP: float(3), topK: Int(words[2]), minP: float(4))
                config.repetitionPenalty = float(5)
                config.presencePenalty = float(10)
                config.frequencyPenalty = float(11)
                let needsAll = config.temperature > 0 || config.repetitionPenalty != 1 || mask >= 0
                precondition(kind >= .full || !needsAll, "a row asks for more than the call was made for")
                precondition(
                    !config.countsTokens || (kind == .counted && self.counts[lane]), "a row has penalties and nobody counts")
                let seed = UInt64(UInt32(bitPattern: words[6])) | UInt64(UInt32(bitPattern: words[7])) << 32
                var sampler = Sampler(config: config, seed: seed)
                let values = UnsafeMutableBufferPointer(
                    start: (logits.pointer + row * logits.rowStride * 4).assumingMemoryBound(to: Float.self), count: logits.width)
                sampler.penalize(values, self.history[lane])
                if mask >= 0 {
                    let bits = self.masks.rows(mask..<mask + 1).int32s
                    for token in values.indices where bits[token >> 5] >> Int32(token & 31) & 1 == 0 {
                        values[token] = -.infinity
                    }
                }
                let token = sampler.choose(UnsafeBufferPointer(values), step: Int(words[8]))
                self.newest.int32s[lane] = token
                self.history[lane].generated(token)
                self.memory[result] = token
            }
        }
    }
}

extension ReferenceBackend {
    fileprivate func allocateOrEmpty(_ byteCount: Int) -> any DeviceBuffer {
        do { return try allocate(byteCount: byteCount, purpose: "lanes") } catch { preconditionFailure("\(error)") }
    }
}
