import CCUDAKernels
package import Tensors

extension CUDABackend {
    package func makeSampler(lanes: Int, vocabularySize: Int) throws -> any DeviceSampler {
        try CUDASampler(self, lanes: lanes, vocabularySize: vocabularySize)
    }
}

/// Chooses tokens on one GPU; see sampling.cu.
///
/// All memory is taken when it is made, so sampling can be recorded; only that for counting waits for the first lane that asks for it.
final class CUDASampler: DeviceSampler {
    let newest: Tensor
    let masks: Tensor
    let results: UnsafePointer<Int32>
    let resultCount: Int

    private let backend: CUDABackend
    private let lanes: Int
    private let vocabularySize: Int
    private let memory: any DeviceBuffer
    private let hostMemory: PinnedMemory
    private let deviceResults: UnsafeMutablePointer<Int32>
    /// `[lanes, seenWords]`: a bit for each token.
    private let seen: Tensor
    private let seenWords: Int
    /// `[lanes, V]` uint16: how often each lane's response has a token, up to 65,535.
    private var counts: (any DeviceBuffer)?
    private let cluster: Int
    /// Shared memory that holds a block's part of a row; nil when it does not fit.
    private let cacheBytes: Int?

    init(_ backend: CUDABackend, lanes: Int, vocabularySize: Int) throws {
        let largest = 1 << VLM_CUDA_SAMPLING_ID_BITS
        guard lanes > 0, vocabularySize > 0, vocabularySize <= largest else {
            throw TensorError(
                .unsupported, operation: "makeSampler",
                detail: "\(lanes) lanes over a vocabulary of \(vocabularySize); it may have up to \(largest) tokens")
        }
        self.backend = backend
        self.lanes = lanes
        self.vocabularySize = vocabularySize
        seenWords = (vocabularySize + 31) / 32
        let newestBytes = (lanes * 4 + Workspace.alignment - 1) / Workspace.alignment * Workspace.alignment
        memory = try backend.allocate(byteCount: newestBytes + 2 * lanes * seenWords * 4, purpose: "sampling")
        newest = Tensor(pointer: memory.pointer, dtype: .int32, shape: Shape(lanes))
        seen = Tensor(pointer: memory.pointer + newestBytes, dtype: .int32, shape: Shape(lanes, seenWords))
        masks = Tensor(
            pointer: memory.pointer + newestBytes + lanes * seenWords * 4, dtype: .int32, shape: Shape(lanes, seenWords))
        // Four steps may be on their way before the host has read the first.
        resultCount = 4 * lanes
        hostMemory = try PinnedMemory(backend.context, byteCount: resultCount * 4)
        hostMemory.pointer.initializeMemory(as: Int32.self, repeating: -1, count: resultCount)
        results = UnsafePointer(hostMemory.pointer.assumingMemoryBound(to: Int32.self))
        deviceResults = try hostMemory.devicePointer().assumingMemoryBound(to: Int32.self)

        cluster = backend.properties.major >= 9 ? VLM_CUDA_SAMPLING_CLUSTER : 1
        // Rows may begin anywhere in 16 bytes, and are shared in units of 16.
        let share = ((vocabularySize + 6) / 4 + cluster - 1) / cluster * 16
        let kernelBytes = 36 << 10
        cacheBytes = share + kernelBytes <= backend.properties.sharedBytesPerBlock ? share : nil
        // Compiled now, since nothing may be compiled while a step is recorded.
        for kind in [SamplingKind.greedy, .full] { _ = try kernel(kind) }
    }

    private func kernel(_ kind: SamplingKind) throws -> Kernel {
        try backend.kernel(.sampling, kind == .greedy ? "sample_greedy" : "sample_full", element: .float32)
    }

    func begin(lane: Int, tokens: [Int32], counted: ArraySlice<Int32>?) throws {
        try backend.require(lane >= 0 && lane < lanes, "begin", "lane \(lane) of \(lanes)")
        var words = [UInt32](repeating: 0, count: seenWords)
        for token in tokens {
            try backend.require(
                token >= 0 && token < vocabularySize, "begin", "token \(token) is outside the vocabulary of \(vocabularySize)")
            words[Int(token >> 5)] |= 1 << UInt32(token & 31)
        }
        try words.withUnsafeBytes { try backend.upload($0, to: seen.rows(lane..<lane + 1)) }
        guard let counted else { return }
        let counts = try countsMemory()
        var row = [UInt16](repeating: 0, count: vocabularySize)
        for token in counted where row.indices.contains(Int(token)) && row[Int(token)] < .max { row[Int(token)] += 1 }
        let bytes = 2 * vocabularySize
        let tensor = Tensor(pointer: counts.pointer + lane * bytes, dtype: .uint8, shape: Shape(bytes))
        try row.withUnsafeBytes { try backend.upload($0, to: tensor) }
    }

    private func countsMemory() throws -> any DeviceBuffer {
        if let counts { return counts }
        let memory = try backend.allocate(byteCount: 2 * lanes * vocabularySize, purpose: "token counts")
        counts = memory
        return memory
    }

    func sample(_ logits: Tensor, rows: Tensor, kind: SamplingKind) throws {
        let operation = "sample"
        try backend.requireFloat32(logits, in: operation)
        try backend.require(
            logits.shape.rank == 2 && logits.width == vocabularySize && logits.rows <= 65535, operation,
            "logits \(logits.shape) must be [n, \(vocabularySize)]")
        try backend.requireInt32(rows, count: logits.rows * SamplingRow.words, operation)
        try backend.require(
            kind < .counted || counts != nil, operation, "presence and frequency penalties need lanes that began with counts")
        let isCached = kind != .greedy && cacheBytes != nil
        let parameters = vlm_cuda_sample(
            logits: logits.floats, rows: UnsafeRawPointer(rows.pointer).assumingMemoryBound(to: vlm_cuda_sampling_row.self),
            newest: newest.int32s, results: deviceResults, seen: seen.pointer.assumingMemoryBound(to: UInt32.self),
            counts: kind < .counted ? nil : counts?.pointer.assumingMemoryBound(to: UInt16.self),
            masks: UnsafeRawPointer(masks.pointer).assumingMemoryBound(to: UInt32.self),
            stride: Int64(logits.rowStride), vocabulary: Int32(vocabularySize), lanes: Int32(lanes),
            result_count: Int32(resultCount), seen_words: Int32(seenWords), is_cached: isCached ? 1 : 0)
        try backend.launch(
            kernel(kind), Grid(cluster, logits.rows), block: VLM_CUDA_SAMPLING_THREADS,
            sharedBytes: isCached ? cacheBytes ?? 0 : 0,
            cluster: cluster, overlaps: true, parameters)
    }
}
