import Layers
package import Models
package import Tensors
package import Text

/// The engine without concurrency: queues, batches, runs and samples, one step at a call.
///
/// Everything here belongs to one thread at a time; ``Engine`` sees to that. A step admits waiting sequences, encodes the images that
/// the next prefill needs, and runs one ragged batch: a token of every decoding sequence and chunks of prompts up to
/// ``MemoryPlan/maxPrefillTokens``.
package final class EngineCore {
    package let model: LoadedModel
    package let plan: MemoryPlan
    private let backend: any Backend
    private let tokenizer: any Tokenizer
    private let stopTokens: Set<Int32>
    private let imageTokenID: Int32?

    private let cache: KVCache
    private var pool: BlockPool
    private let context: ForwardContext
    private let encoder: ImageEncoder?

    private var waiting: [SequenceState] = []
    private var running: [SequenceState] = []
    private var nextID = 0

    private var batch = ForwardBatch()
    private var entries: [Entry] = []
    /// One chunk of logits or hidden states on the host.
    private var hostRows: [Float] = []

    /// A sequence's share of the batch.
    private struct Entry {
        let sequence: SequenceState
        /// Its rows among the batch's output rows.
        let outputs: Range<Int>
    }

    package init(
        model: LoadedModel, plan: MemoryPlan, backend: any Backend, tokenizer: any Tokenizer, stopTokens: Set<Int32>,
        vision: VisionConfig
    ) throws {
        self.model = model
        self.plan = plan
        self.backend = backend
        self.tokenizer = tokenizer
        self.stopTokens = stopTokens
        imageTokenID = try model.promptRule?.imageTokenID(lookup: tokenizer.tokenID)
        cache = try KVCache(
            layout: model.language.cacheLayout, blockCount: plan.blockCount, blockSize: plan.blockSize, backend: backend)
        pool = BlockPool(blockCount: plan.blockCount, blockSize: plan.blockSize)
        context = ForwardContext(
            backend: backend, workspace: try Workspace(backend: backend, byteCount: plan.activationBytes))
        encoder = model.vision.map {
            ImageEncoder(encoder: $0, backend: backend, maxBatchSize: vision.maxBatchSize, byteLimit: plan.visionBytes)
        }
        batch.positions = Array(repeating: [], count: model.language.positionAxes)
    }

    package var hasWork: Bool { !waiting.isEmpty || !running.isEmpty }

    // MARK: Requests

    /// Queues a request. Pieces arrive at `sink` during later steps; the last one carries the response, also when it failed.
    ///
    /// - Returns: a number to cancel it by.
    /// - Throws: ``EngineError`` when the request can never run; nothing is queued then.
    @discardableResult
    package func submit(_ request: EngineRequest, sink: @escaping (ResponsePiece) -> Void) throws -> Int {
        try request.generation.validate()
        let prompt = request.tokenIDs
        guard !prompt.isEmpty else { throw EngineError(.invalidRequest, "the prompt has no tokens; give it some text") }
        if let bad = prompt.first(where: { $0 < 0 || Int($0) >= model.language.vocabularySize }) {
            throw EngineError(
                .invalidRequest,
                "token \(bad) is outside the model's vocabulary of \(model.language.vocabularySize); tokenizer and model do not belong together"
            )
        }
        let generation = request.generation
        let room = plan.sessionLen - prompt.count
        guard room >= (generation.maxNewTokens == 0 ? 0 : 1) else {
            throw EngineError(
                .contextLengthExceeded,
                "the prompt has \(prompt.count) tokens, the session holds \(plan.sessionLen); shorten it, use fewer or smaller images, "
                    + "or raise sessionLen (the model allows \(model.language.longestSession))")
        }
        let runs: [ImageRun]
        if let imageTokenID, encoder != nil {
            runs = try ImageRun.find(in: prompt, imageTokenID: imageTokenID, images: request.images)
        } else {
            guard request.images.isEmpty else {
                throw EngineError(.unsupportedFeature, "\(model.family) is a text model and cannot look at images")
            }
            runs = []
        }
        let id = nextID
        nextID += 1
        let sequence = SequenceState(
            id: id, request: request, maxNewTokens: min(generation.maxNewTokens ?? room, room),
            positions: try model.positions(tokenIDs: prompt, images: request.images), imageRuns: runs,
            stopTokens: stopTokens.union(generation.stopTokenIDs), seed: generation.randomSeed ?? .random(in: .min ... .max),
            tokenizer: tokenizer, sink: sink)
        waiting.append(sequence)
        return id
    }

    /// Ends a request; its sink gets a last piece with finish reason `abort`. Its blocks are free when this returns.
    package func cancel(_ id: Int) {
        let error = EngineError(.cancelled, "the request was cancelled")
        if let index = waiting.firstIndex(where: { $0.id == id }) {
            waiting.remove(at: index).finish(.abort, error: error)
        } else if let sequence = running.first(where: { $0.id == id }) {
            retire(sequence)
            sequence.finish(.abort, error: error)
        }
    }

    /// Ends every request with `error`.
    package func failAll(_ error: any Error) {
        for sequence in running {
            retire(sequence)
            sequence.finish(.error, error: error)
        }
        for sequence in waiting { sequence.finish(.error, error: error) }
        waiting.removeAll()
    }

    // MARK: Steps

    /// Runs one batch. A failure ends the requests it concerns, never the engine.
    package func step() {
        admit()
        encodeImages()
        buildBatch()
        guard !entries.isEmpty else { return }
        do {
            try context.workspace.scope { try runBatch() }
        } catch {
            for entry in entries where running.contains(where: { $0 === entry.sequence }) { fail(entry.sequence, error) }
        }
        entries.removeAll(keepingCapacity: true)
    }

    /// Moves waiting sequences into the batch while there is room for their longest response, first come first served.
    private func admit() {
        while running.count < plan.maxBatchSize, let next = waiting.first {
            let needed = pool.blocks(for: next.promptCount + next.maxNewTokens)
            guard needed <= pool.blockCount else {
                waiting.removeFirst()
                next.finish(
                    .error,
                    error: EngineError(
                        .contextLengthExceeded,
                        "prompt and response of \(next.promptCount) + \(next.maxNewTokens) tokens need \(needed) cache blocks, "
                            + "there are \(pool.blockCount); lower maxNewTokens or raise cacheMaxEntryCount"))
                continue
            }
            guard let blocks = pool.take(needed) else { return }
            next.blocks = blocks
            running.append(next)
            waiting.removeFirst()
        }
    }

    /// Encodes the images of sequences that are about to be prefilled, several sequences' together.
    private func encodeImages() {
        guard let encoder else { return }
        let pending = running.filter(\.needsImages)
        guard !pending.isEmpty else { return }
        encoder.encode(pending) { sequence, error in fail(sequence, error) }
    }

    private func buildBatch() {
        batch.removeAll()
        entries.removeAll(keepingCapacity: true)
        var budget = plan.maxPrefillTokens
        // Decoding sequences first: a long prompt may wait a step, a running answer may not.
        for sequence in running where sequence.isPrefilled && budget > 0 {
            add(sequence, count: sequence.tokens.count - sequence.computed)
            budget -= 1
        }
        for sequence in running where !sequence.isPrefilled && budget > 0 {
            sequence.markPrefillStart()
            let count = min(budget, sequence.promptCount - sequence.computed)
            add(sequence, count: count)
            budget -= count
        }
        padBlockTables()
    }

    private func add(_ sequence: SequenceState, count: Int) {
        let start = sequence.computed
        let end = start + count
        let firstRow = batch.tokenCount
        for index in start..<end {
            batch.tokenIDs.append(sequence.tokens[index])
            for axis in batch.positions.indices { batch.positions[axis].append(sequence.position(index, axis: axis)) }
            let block = sequence.blocks[index / plan.blockSize]
            batch.slots.append(block * Int32(plan.blockSize) + Int32(index % plan.blockSize))
        }
        for run in sequence.imageRuns where run.start < end && run.start + run.count > start {
            let from = max(run.start, start)
            let to = min(run.start + run.count, end)
            let firstFeature = run.featureRow + from - run.start
            batch.imageSpans.append(
                ImageSpan(
                    row: firstRow + from - start,
                    features: sequence.features[run.image].tensor.rows(firstFeature..<firstFeature + to - from)))
        }
        batch.queryStarts.append(Int32(batch.tokenCount))
        batch.contextLengths.append(Int32(end))

        let firstOutput = batch.outputRows.count
        if sequence.wantsAllPositions {
            batch.outputRows.append(contentsOf: Int32(firstRow)..<Int32(batch.tokenCount))
        } else if end == sequence.tokens.count {
            batch.outputRows.append(Int32(batch.tokenCount - 1))
        }
        entries.append(Entry(sequence: sequence, outputs: firstOutput..<batch.outputRows.count))
    }

    private func padBlockTables() {
        // Only blocks that hold context are named: a table may be long and its sequence short.
        batch.maxBlocks = batch.contextLengths.reduce(0) { max($0, pool.blocks(for: Int($1))) }
        for entry in entries {
            let used = min(batch.maxBlocks, entry.sequence.blocks.count)
            batch.blockTables.append(contentsOf: entry.sequence.blocks[..<used])
            for _ in used..<batch.maxBlocks { batch.blockTables.append(0) }
        }
    }

    private func runBatch() throws {
        let hidden = try model.language.forward(batch, cache: cache, context: context)
        for (index, entry) in entries.enumerated() {
            entry.sequence.computed = Int(batch.contextLengths[index])
            if entry.sequence.isPrefilled { entry.sequence.features.removeAll() }
        }
        var first = 0
        var entry = 0
        // Logits are [rows, V]: taken in slices of at most the batch size, which the memory plan counts on.
        while first < batch.outputRows.count {
            let slice = first..<min(first + plan.maxBatchSize, batch.outputRows.count)
            try context.workspace.scope {
                try finishRows(slice, of: hidden, entry: &entry)
            }
            first = slice.upperBound
        }
    }

    /// Brings the rows `slice` of the pass's outputs to the host, records what is wanted and samples where a sequence's last row is.
    private func finishRows(_ slice: Range<Int>, of hidden: Tensor, entry: inout Int) throws {
        let rows = hidden.rows(slice)
        if entries.contains(where: { $0.sequence.request.generation.outputLastHiddenState != nil && $0.outputs.overlaps(slice) })
        {
            try download(rows)
            eachRow(slice, width: rows.width, from: entry) { sequence, row, isLast in
                sequence.record(hiddenState: row, isLastOfPass: isLast)
            }
        }
        let logits = try model.language.logits(rows, context: context)
        try download(logits)
        eachRow(slice, width: logits.width, from: entry) { sequence, row, isLast in
            sequence.record(logits: row, isLastOfPass: isLast)
            guard isLast, sequence.computed == sequence.tokens.count else { return }
            do {
                if sequence.maxNewTokens == 0 {
                    sequence.finish(.length)
                    retire(sequence)
                } else if try !sequence.advance(row) {
                    retire(sequence)
                }
            } catch {
                fail(sequence, error)
            }
        }
        while entry < entries.count, entries[entry].outputs.upperBound <= slice.upperBound { entry += 1 }
    }

    private func download(_ tensor: Tensor) throws {
        let count = tensor.count
        if hostRows.count < count { hostRows = [Float](repeating: 0, count: count) }
        if tensor.dtype == .float32 {
            try hostRows.withUnsafeMutableBytes { bytes in
                try backend.download(tensor, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * 4)]))
            }
        } else {
            let wide = try context.workspace.allocate(tensor.shape, dtype: .float32)
            try backend.copy(tensor, into: wide)
            try download(wide)
        }
    }

    /// Calls `body` with each downloaded row of `slice` and the sequence it belongs to.
    private func eachRow(
        _ slice: Range<Int>, width: Int, from entry: Int,
        _ body: (SequenceState, UnsafeMutableBufferPointer<Float>, _ isLast: Bool) -> Void
    ) {
        hostRows.withUnsafeMutableBufferPointer { values in
            for entry in entries[entry...] {
                guard entry.outputs.lowerBound < slice.upperBound else { return }
                for row in entry.outputs.clamped(to: slice) {
                    let start = (row - slice.lowerBound) * width
                    body(
                        entry.sequence, UnsafeMutableBufferPointer(rebasing: values[start..<start + width]),
                        row == entry.outputs.upperBound - 1)
                }
            }
        }
    }

    private func fail(_ sequence: SequenceState, _ error: any Error) {
        retire(sequence)
        sequence.finish(.error, error: error)
    }

    private func retire(_ sequence: SequenceState) {
        guard let index = running.firstIndex(where: { $0 === sequence }) else { return }
        running.remove(at: index)
        pool.giveBack(sequence.blocks)
        sequence.blocks.removeAll()
        sequence.features.removeAll()
    }

    /// Features `[tokens, D]` of images, encoded now and kept by nobody.
    package func imageFeatures(_ images: [ProcessedImage]) throws -> [OutputMatrix] {
        guard let encoder else {
            throw EngineError(.unsupportedFeature, "\(model.family) is a text model and cannot look at images")
        }
        return try encoder.encode(images).map { feature in
            try context.workspace.scope {
                try download(feature.tensor)
                var matrix = OutputMatrix(columns: feature.tensor.width)
                matrix.rows = feature.tensor.rows
                matrix.values = Array(hostRows[..<feature.tensor.count])
                return matrix
            }
        }
    }

    /// Blocks no sequence owns.
    package var freeBlocks: Int { pool.freeCount }
}
