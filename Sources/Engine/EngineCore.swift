import Layers
package import Models
package import Tensors
package import Text

/// The engine without concurrency: queues, batches, runs and samples, one step at a call.
///
/// Everything here belongs to one thread at a time; ``Engine`` sees to that. A step admits waiting sequences, encodes the images that
/// the next prefill needs, and runs one ragged batch: a token of every decoding sequence and chunks of prompts up to
/// ``MemoryPlan/maxPrefillTokens``.
///
/// On a backend that runs behind its host (``AsynchronousBackend``) tokens are chosen on the device and a step submits its batch before it
/// has seen the tokens of the batch before: the device always has work, and the host's part of a step costs no time. Where a request
/// wants something of the logits, the host chooses, step by step.
package final class EngineCore {
    package let model: LoadedModel
    package let plan: MemoryPlan
    private let backend: any Backend
    private let tokenizer: any Tokenizer
    private let stopTokens: Set<Int32>
    private let imageTokenID: Int32?

    private var pool: BlockPool
    private var freeLanes: [Int]
    private let encoder: ImageEncoder?
    private let hostRunner: HostRunner
    private let deviceRunner: DeviceRunner?

    private var waiting: [SequenceState] = []
    private var running: [SequenceState] = []
    private var nextID = 0

    private var batch = ForwardBatch()
    private var entries: [PassEntry] = []
    /// The pass whose tokens the host has not seen.
    private var submitted: DeviceRunner.Submitted?

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
        let cache = try KVCache(
            layout: model.language.cacheLayout, blockCount: plan.blockCount, blockSize: plan.blockSize, backend: backend)
        pool = BlockPool(blockCount: plan.blockCount, blockSize: plan.blockSize)
        freeLanes = (0..<plan.maxBatchSize).reversed()
        let context = ForwardContext(
            backend: backend, workspace: try Workspace(backend: backend, byteCount: plan.activationBytes))
        encoder = model.vision.map {
            ImageEncoder(encoder: $0, backend: backend, maxBatchSize: vision.maxBatchSize, byteLimit: plan.visionBytes)
        }
        hostRunner = HostRunner(model: model.language, cache: cache, context: context, maxRows: plan.maxBatchSize)
        deviceRunner = try (backend as? any AsynchronousBackend).map {
            try DeviceRunner(model: model.language, cache: cache, context: context, backend: $0, plan: plan)
        }
        batch.positions = Array(repeating: [], count: model.language.positionAxes)
    }

    package var hasWork: Bool {
        !waiting.isEmpty || !running.isEmpty || submitted?.entries.contains(where: { !$0.sequence.isDone }) == true
    }

    // MARK: Requests

    /// Queues a request. Pieces arrive at `sink` during later steps; the last one carries the response, also when it failed.
    ///
    /// - Returns: a number to cancel it by.
    /// - Throws: ``EngineError`` when the request can never run; nothing is queued then.
    @discardableResult
    package func submit(_ request: EngineRequest, sink: @escaping (ResponsePiece) -> Void) throws -> Int {
        try request.generation.validate(vocabularySize: model.language.vocabularySize)
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
        let sequence = try SequenceState(
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
        // The host needs every token before it can choose the next ones itself.
        let choosesOnDevice = deviceRunner != nil && running.allSatisfy(\.choosesOnDevice)
        if !choosesOnDevice { collect() }
        buildBatch()
        defer { entries.removeAll(keepingCapacity: true) }
        guard !entries.isEmpty else { return collect() }
        do {
            if choosesOnDevice, let deviceRunner {
                let next = try deviceRunner.submit(&batch, entries)
                didSubmit()
                collect()
                submitted = next
            } else {
                try hostRunner.run(batch, entries, submitted: didSubmit, finished: retire, failed: fail)
            }
        } catch {
            for entry in entries { fail(entry.sequence, error) }
        }
    }

    /// Counts the batch's positions as cached: whatever is submitted later finds them.
    private func didSubmit() {
        for (index, entry) in entries.enumerated() {
            entry.sequence.computed = Int(batch.contextLengths[index])
            if entry.sequence.isPrefilled { entry.sequence.features.removeAll() }
        }
    }

    /// Hands out the tokens of the pass before.
    private func collect() {
        guard let deviceRunner, let pass = submitted else { return }
        submitted = nil
        do {
            try deviceRunner.collect(pass, finished: retire, failed: fail)
        } catch {
            for entry in pass.entries { fail(entry.sequence, error) }
        }
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
            next.lane = freeLanes.removeLast()
            running.append(next)
            waiting.removeFirst()
        }
    }

    /// Encodes the images of the sequences that the next pass prefills, several sequences' together.
    ///
    /// Not of all that run: features wait in memory, and this way they are never more than one pass and one session long.
    private func encodeImages() {
        guard let encoder else { return }
        var budget = plan.maxPrefillTokens
        var pending: [SequenceState] = []
        for sequence in running where !sequence.isPrefilled && budget > 0 {
            if sequence.needsImages { pending.append(sequence) }
            budget -= sequence.promptCount - sequence.computed
        }
        guard !pending.isEmpty else { return }
        encoder.encode(pending) { sequence, error in fail(sequence, error) }
    }

    private func buildBatch() {
        batch.removeAll()
        var budget = plan.maxPrefillTokens
        // Decoding sequences first: a long prompt may wait a step, a running answer may not.
        for sequence in running where sequence.wantsToken && budget > 0 {
            add(sequence, count: 1)
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
            batch.tokenIDs.append(sequence.token(index))
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
        } else if end == sequence.scheduledCount {
            batch.outputRows.append(Int32(batch.tokenCount - 1))
        }
        entries.append(PassEntry(sequence: sequence, outputs: firstOutput..<batch.outputRows.count, end: end))
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

    private func fail(_ sequence: SequenceState, _ error: any Error) {
        guard running.contains(where: { $0 === sequence }) else { return }
        retire(sequence)
        sequence.finish(.error, error: error)
    }

    /// Takes a sequence out of the batch. What is still under way for it on the device writes only to its blocks and its lane, before
    /// anything that is submitted for their next owner.
    private func retire(_ sequence: SequenceState) {
        guard let index = running.firstIndex(where: { $0 === sequence }) else { return }
        running.remove(at: index)
        pool.giveBack(sequence.blocks)
        freeLanes.append(sequence.lane)
        sequence.blocks.removeAll()
        sequence.features.removeAll()
    }

    // MARK: Beside requests

    /// Runs a small pass of each kind and waits for it, so that the first request finds kernels compiled and libraries warm.
    package func warmUp() throws {
        try deviceRunner?.warmUp()
        if deviceRunner != nil, let encoder, let processor = model.imageProcessor { try encoder.warmUp(processor) }
    }

    /// Features `[tokens, D]` of images, encoded now and kept by nobody.
    package func imageFeatures(_ images: [ProcessedImage]) throws -> [OutputMatrix] {
        guard let encoder else {
            throw EngineError(.unsupportedFeature, "\(model.family) is a text model and cannot look at images")
        }
        return try encoder.encode(images).map { try hostRunner.matrix($0.tensor) }
    }

    /// Encodes images and waits for the device, for measurements; the features are dropped there.
    package func encodeImages(_ images: [ProcessedImage]) throws {
        _ = try encoder?.encode(images)
        try backend.synchronize()
    }

    /// Where the device's time went, when it was measured.
    package var timeReport: String? { (backend as? any AsynchronousBackend)?.timeReport }

    /// Memory on the device, total first; empty on the CPU, where the process's memory says it.
    package var memoryUses: [MemoryUse] { (backend as? any AsynchronousBackend)?.memoryUses ?? [] }

    /// Blocks no sequence owns.
    package var freeBlocks: Int { pool.freeCount }
}
