import Tensors
import TestKit

/// Plain loops that can be recorded: what is recorded runs when it is replayed, over the memory it was given then.
final class ReplayingBackend: AsynchronousBackend {
    private let reference = ReferenceBackend()
    private var recording: [() throws -> Void]?
    private(set) var replays = 0

    let device = Device.cuda(0)
    var activationType: DType { reference.activationType }
    var cacheType: DType { reference.cacheType }

    private final class Recording: RecordedWork {
        let jobs: [() throws -> Void]
        init(_ jobs: [() throws -> Void]) { self.jobs = jobs }
    }

    private func run(_ job: @escaping () throws -> Void) throws {
        if recording == nil { try job() } else { recording?.append(job) }
    }

    private func refuseWhileRecording(_ operation: String) throws {
        if recording != nil { throw TensorError(.unsupported, operation: operation, detail: "while recording") }
    }

    // MARK: Recording

    func record(_ body: () throws -> Void) throws -> any RecordedWork {
        recording = []
        defer { recording = nil }
        try body()
        return Recording(recording ?? [])
    }

    func replay(_ work: any RecordedWork) throws {
        replays += 1
        for job in (work as? Recording)?.jobs ?? [] { try job() }
    }

    func mark() throws -> any StreamMark { throw TensorError(.unsupported, operation: "mark", detail: "not here") }
    func makeSampler(lanes: Int, vocabularySize: Int) throws -> any DeviceSampler {
        throw TensorError(.unsupported, operation: "makeSampler", detail: "not here")
    }

    // MARK: Memory and weights

    func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer {
        try refuseWhileRecording("allocate")
        return try reference.allocate(byteCount: byteCount, purpose: purpose)
    }
    func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
        try refuseWhileRecording("upload")
        try reference.upload(bytes, to: tensor)
    }
    func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
        try refuseWhileRecording("download")
        try reference.download(tensor, into: bytes)
    }
    func synchronize() throws { try refuseWhileRecording("synchronize") }
    func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight {
        try reference.makeLinear(parts, bias: bias, combine: combine)
    }
    func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        try reference.makeTensor(source, dtype: dtype)
    }

    // MARK: Operations

    func copy(_ source: Tensor, into out: Tensor) throws { try run { [reference] in try reference.copy(source, into: out) } }
    func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {
        try run { [reference] in try reference.linear(x, weight, epilogue: epilogue, into: out) }
    }
    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws {
        try run { [reference] in try reference.rmsNorm(x, weight: weight, epsilon: epsilon, into: out) }
    }
    func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {
        try run { [reference] in try reference.layerNorm(x, weight: weight, bias: bias, epsilon: epsilon, into: out) }
    }
    func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws {
        try run { [reference] in try reference.rotate(x, cosine: cosine, sine: sine, style: style) }
    }
    func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) throws {
        try run { [reference] in
            try reference.rotaryTables(
                positions: positions, frequencies: frequencies, axes: axes, factor: factor, cosine: cosine, sine: sine)
        }
    }
    func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {
        try run { [reference] in try reference.writeCache(keys: k, values: v, slots: slots, cache: cache) }
    }
    func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws {
        try run { [reference] in try reference.pagedAttention(q, cache: cache, batch: batch, options: options, into: out) }
    }
    func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws {
        try run { [reference] in
            try reference.segmentedAttention(
                q, k, v, segments: segments, hostSegments: hostSegments, options: options, into: out)
        }
    }
    func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws {
        try run { [reference] in try reference.gatherRows(table, indices: indices, lanes: lanes, into: out) }
    }
    func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws {
        try run { [reference] in try reference.scatterRows(source, indices: indices, into: out) }
    }
    func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws {
        try run { [reference] in
            try reference.resample(source, starts: starts, weights: weights, precision: precision, into: out)
        }
    }
    func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) throws {
        try run { [reference] in
            try reference.patchRows(
                pixels, samples: samples, corners: corners, patchSize: patchSize, frames: frames, into: out)
        }
    }
    func add(_ x: Tensor, into out: Tensor) throws { try run { [reference] in try reference.add(x, into: out) } }
    func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {
        try run { [reference] in try reference.addRows(table, indices: indices, into: out) }
    }
    func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws {
        try run { [reference] in try reference.addRows(table, indices: indices, weights: weights, into: out) }
    }
    func activate(_ x: Tensor, _ activation: Activation) throws {
        try run { [reference] in try reference.activate(x, activation) }
    }
    func scale(_ x: Tensor, by factor: Float) throws { try run { [reference] in try reference.scale(x, by: factor) } }
}
