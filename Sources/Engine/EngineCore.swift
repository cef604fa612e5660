import Layers
package import Models
package import Tensors
package import Text

/// The engine without concurrency: takes requests and runs them, one step at a call.
///
/// Everything here belongs to one thread at a time; ``Engine`` sees to that. A step admits waiting sequences (``Scheduler``), gets the features of
/// the images that it needs (``ImageFeatureStore``), and runs one ragged batch: a token of every decoding sequence and chunks of prompts
/// (``PrefillPolicy``).
///
/// On a backend that runs behind its host (``AsynchronousBackend``) tokens are chosen on the device and a step submits its batch before it
/// has seen the tokens of the batch before: the device always has work, and the host's part of a step costs no time. See ``DeviceRunner``.
package final class EngineCore {
    package let model: LoadedModel
    package let plan: MemoryPlan
    private let backend: any Backend

    private let intake: RequestIntake
    private let scheduler: Scheduler
    private let features: ImageFeatureStore?
    private let builder: BatchBuilder
    private let hostRunner: HostRunner
    private let deviceRunner: DeviceRunner?

    private var nextID = 0
    /// The pass whose tokens the host has not seen.
    private var submitted: DeviceRunner.Submitted?
    private var counts = EngineStatistics()

    package init(
        model: LoadedModel, plan: MemoryPlan, backend: any Backend, tokenizer: any Tokenizer, stopTokens: Set<Int32>,
        vision: VisionConfig, config: EngineConfig = .init()
    ) throws {
        self.model = model
        self.plan = plan
        self.backend = backend
        let cache = try KVCache(
            layout: model.language.cacheLayout, blockCount: plan.blockCount, blockSize: plan.blockSize, backend: backend)
        let context = ForwardContext(
            backend: backend, workspace: try Workspace(backend: backend, byteCount: plan.activationBytes))
        let encoder = model.vision.map {
            ImageEncoder(encoder: $0, backend: backend, maxBatchSize: vision.maxBatchSize, byteLimit: plan.visionBytes)
        }
        features = encoder.map {
            ImageFeatureStore(
                encoder: $0, cacheBytes: plan.featureCacheBytes, pictureBytes: plan.pictureBytes, ownedBytes: plan.featureBytes)
        }
        intake = RequestIntake(
            model: model, plan: plan, tokenizer: tokenizer, stopTokens: stopTokens,
            imageTokenID: try model.promptRule?.imageTokenID(lookup: tokenizer.tokenID), encoder: encoder)
        scheduler = Scheduler(plan: plan, config: config)
        builder = BatchBuilder(blockSize: plan.blockSize, positionAxes: model.language.positionAxes)
        hostRunner = HostRunner(model: model.language, cache: cache, context: context, maxRows: plan.maxBatchSize)
        deviceRunner = try (backend as? any AsynchronousBackend).map {
            try DeviceRunner(model: model.language, cache: cache, context: context, backend: $0, plan: plan)
        }
    }

    package var hasWork: Bool {
        !scheduler.isIdle || submitted?.entries.contains(where: { !$0.sequence.isDone }) == true
    }

    // MARK: Requests

    /// Queues a request. Pieces arrive at `sink` during later steps; the last one carries the response, also when it failed.
    ///
    /// - Returns: a number to cancel it by.
    /// - Throws: ``EngineError`` when the request can never run, or of kind `busy` when too many wait; nothing is queued then.
    @discardableResult
    package func submit(_ request: EngineRequest, sink: @escaping (ResponsePiece) -> Void) throws -> Int {
        let sequence = try intake.sequence(request, id: nextID, sink: sink)
        guard scheduler.room > 0 else {
            counts.refusedRequests += 1
            throw EngineError(
                .busy,
                "\(scheduler.running.count) requests run and \(scheduler.waiting.count) wait; try again later, or raise maxWaitingRequests"
            )
        }
        nextID += 1
        counts.submittedRequests += 1
        scheduler.enqueue(sequence)
        return sequence.id
    }

    /// Requests that ``submit(_:sink:)`` would take before it is busy.
    package var room: Int { scheduler.room }

    /// Ends a request; its sink gets a last piece with finish reason `abort`. Its blocks are free when this returns.
    package func cancel(_ id: Int) {
        guard let sequence = scheduler.sequence(id) else { return }
        abort(sequence, .cancelled)
    }

    /// Ends every request with `error`.
    package func failAll(_ error: any Error) {
        for sequence in scheduler.all { fail(sequence, error) }
    }

    // MARK: Steps

    /// Runs one batch. A failure ends the requests it concerns, never the engine.
    package func step() {
        for sequence in scheduler.overdue() { abort(sequence, .deadlineExceeded) }
        if !scheduler.grow() {
            // Who gives way computes its tokens again, so they must be known; and those that end now may leave blocks enough.
            collect()
            scheduler.preemptToGrow()
        }
        scheduler.admit { features?.noteCachedImages(of: $0) }
        buildBatch(prefillChunks())
        defer { builder.removeAll() }
        guard !builder.entries.isEmpty else { return collect() }
        do {
            counts.steps += 1
            if let deviceRunner {
                submitted = try deviceRunner.run(
                    &builder.batch, builder.entries,
                    meanwhile: {
                        didSubmit()
                        collect()
                    }, finished: finished, failed: fail)
            } else {
                try hostRunner.run(builder.batch, builder.entries, submitted: didSubmit, finished: finished, failed: fail)
            }
        } catch {
            failPass(builder.entries.map(\.sequence), error)
        }
    }

    /// A prompt's tokens for this step.
    private typealias Chunk = (sequence: SequenceState, count: Int)

    /// Shares the step among the prompts, and encodes the images that their chunks show.
    private func prefillChunks() -> [Chunk] {
        var decoding = 0
        var prefilling: [SequenceState] = []
        for sequence in scheduler.running {
            if !sequence.isPrefilled { prefilling.append(sequence) } else if sequence.wantsToken { decoding += 1 }
        }
        guard !prefilling.isEmpty else { return [] }
        prefilling.sort { $0.goesBefore($1) }
        let budget =
            decoding == 0
            ? plan.maxPrefillTokens : min(plan.maxPrefillTokens - decoding, plan.maxPrefillTokensBesideDecodes)
        let shares = PrefillPolicy.shares(prefilling.map { $0.prefillEnd - $0.computed }, budget: budget)
        var chunks = zip(prefilling, shares).map { Chunk(sequence: $0, count: $1) }
        for index in chunks.indices {
            // The first in line may take more than its share for a span, so that it gets on; the others wait for the next step then.
            let most = index == 0 ? plan.maxPrefillTokens - decoding : 0
            chunks[index].count = chunks[index].sequence.uncut(shares[index], most: most)
            if chunks[index].count > shares[index] {
                chunks.removeSubrange((index + 1)...)
                break
            }
        }
        prepareImages(chunks, besideDecodes: decoding > 0)
        chunks.removeAll { !$0.sequence.isRunning }
        var left = budget
        for index in chunks.indices {
            chunks[index].count = chunks[index].sequence.ready(chunks[index].count)
            left -= chunks[index].count
        }
        // What waits for features leaves its share to others, who may hold the memory that it waits for.
        for index in chunks.indices where left > 0 {
            let (sequence, count) = chunks[index]
            let most = min(sequence.prefillEnd - sequence.computed, count + left)
            let more = sequence.ready(sequence.uncut(most, most: 0))
            guard more > count else { continue }
            chunks[index].count = more
            left -= more - count
        }
        return chunks
    }

    /// Gets the features of the images that the chunks show; several sequences' are encoded together. What this step has no room for
    /// waits for the next.
    private func prepareImages(_ chunks: [Chunk], besideDecodes: Bool) {
        guard let features else { return }
        let items = chunks.flatMap { chunk in
            let range = chunk.sequence.computed..<chunk.sequence.computed + chunk.count
            return chunk.sequence.missingImages(in: range).map { (chunk.sequence, $0) }
        }
        guard !items.isEmpty else { return }
        features.prepare(items, rowLimit: besideDecodes ? plan.maxPrefillTokensBesideDecodes : nil, failed: fail)
    }

    private func buildBatch(_ chunks: [Chunk]) {
        // Decoding sequences first: a long prompt may wait a step, a running answer may not.
        builder.addTokens(scheduler.running)
        counts.decodedTokens += builder.entries.count
        for chunk in chunks where chunk.count > 0 {
            chunk.sequence.markPrefillStart()
            builder.add(chunk.sequence, count: chunk.count)
            counts.prefilledTokens += chunk.count
        }
        builder.finish()
    }

    /// Counts the batch's positions as cached: whatever is submitted later finds them.
    private func didSubmit() {
        for entry in builder.entries {
            let sequence = entry.sequence
            let isPrompt = sequence.computed < sequence.promptCount
            sequence.computed = entry.end
            if isPrompt { sequence.releaseImages() }
            scheduler.publish(sequence)
        }
    }

    /// Hands out the tokens of the pass before.
    private func collect() {
        guard let deviceRunner, let pass = submitted else { return }
        submitted = nil
        do {
            try deviceRunner.collect(pass, finished: finished, failed: fail)
        } catch {
            // What was submitted since may build on what is missing: on blocks that were found, or on tokens.
            failPass(scheduler.running, error)
        }
    }

    /// Ends the requests that a failed pass concerns. What it should have computed is lost for others too.
    private func failPass(_ sequences: [SequenceState], _ error: any Error) {
        for sequence in sequences { fail(sequence, error) }
        scheduler.forget()
        features?.forget()
    }

    // MARK: Ends

    private func finished(_ sequence: SequenceState) {
        if scheduler.remove(sequence) { counts.finishedRequests += 1 }
    }

    private func fail(_ sequence: SequenceState, _ error: any Error) {
        guard scheduler.remove(sequence, isSound: false) else { return }
        counts.failedRequests += 1
        sequence.finish(.error, error: error)
    }

    private func abort(_ sequence: SequenceState, _ error: EngineError) {
        guard scheduler.remove(sequence) else { return }
        counts.cancelledRequests += 1
        sequence.finish(.abort, error: error)
    }

    // MARK: Sleep

    /// Stops everything that runs and hands over what waits, to go on in another core: nothing of it is on the device.
    package func suspend() -> SuspendedRequests {
        collect()
        for sequence in scheduler.running { scheduler.preempt(sequence) }
        let sequences = scheduler.all
        for sequence in sequences { scheduler.remove(sequence) }
        return SuspendedRequests(sequences: sequences, nextID: nextID)
    }

    /// Takes over the requests of another core of the same model and plan.
    package func resume(_ suspended: SuspendedRequests) {
        nextID = max(nextID, suspended.nextID)
        for sequence in suspended.sequences { scheduler.enqueue(sequence) }
    }

    // MARK: Beside requests

    /// Runs a small pass of each kind and waits for it, so that the first request finds kernels compiled and libraries warm.
    package func warmUp() throws {
        try deviceRunner?.warmUp()
        if deviceRunner != nil, let features, let processor = model.imageProcessor { try features.encoder.warmUp(processor) }
    }

    /// Features `[tokens, D]` of images, encoded now and kept by nobody.
    package func imageFeatures(_ images: [ProcessedImage]) throws -> [OutputMatrix] {
        guard let features else {
            throw EngineError(.unsupportedFeature, "\(model.family) is a text model and cannot look at images")
        }
        return try features.encoder.encode(images).map { try hostRunner.matrix($0.tensor) }
    }

    /// Encodes images and waits for the device, for measurements; the features are dropped there.
    package func encodeImages(_ images: [ProcessedImage]) throws {
        _ = try features?.encoder.encode(images)
        try backend.synchronize()
    }

    /// What was done so far, and what goes on.
    package var statistics: EngineStatistics {
        var statistics = counts
        statistics.runningRequests = scheduler.running.count
        statistics.waitingRequests = scheduler.waiting.count
        statistics.totalBlocks = plan.blockCount
        statistics.usedBlocks = scheduler.usedBlocks
        statistics.preemptions = scheduler.preemptions
        statistics.cachedBlocks = scheduler.cachedBlocks
        statistics.prefixTokensLookedUp = scheduler.tokensLookedUp
        statistics.prefixTokensHit = scheduler.tokensHit
        statistics.imagesLookedUp = features?.lookedUp ?? 0
        statistics.imagesHit = features?.hits ?? 0
        statistics.encodedImages = features?.encoder.imageCount ?? 0
        statistics.visionPasses = features?.encoder.passCount ?? 0
        statistics.peakRunningRequests = scheduler.peakRunning
        statistics.peakWaitingRequests = scheduler.peakWaiting
        statistics.peakUsedBlocks = scheduler.peakUsedBlocks
        return statistics
    }

    /// Requests in the batch in the order of admission, and those that wait in the order of their turns.
    package var runningRequests: [Int] { scheduler.running.map(\.id) }
    package var waitingRequests: [Int] { scheduler.waiting.all.map(\.id) }

    /// What is wrong with the books, for tests; empty when all is well.
    package func checkInvariants() -> [String] {
        scheduler.checkInvariants() + (features?.checkInvariants(users: scheduler.running) ?? [])
    }

    /// Where the device's time went, when it was measured.
    package var timeReport: String? { (backend as? any AsynchronousBackend)?.timeReport }

    /// Memory on the device, total first; empty on the CPU, where the process's memory says it.
    package var memoryUses: [MemoryUse] { (backend as? any AsynchronousBackend)?.memoryUses ?? [] }

    /// Blocks no sequence owns.
    package var freeBlocks: Int { scheduler.availableBlocks }
}
