import Imaging
import Layers
package import Models
package import Tensors

/// Where the device's memory goes, computed before anything large is allocated.
///
/// Weights, activations at their largest batch and the vision encoder's workspace come first; the KV cache gets a share of what is left. A
/// request that was admitted then never runs out of memory.
package struct MemoryPlan: Sendable, Equatable {
    /// Packed weights.
    package var weightBytes = 0
    /// The language model's workspace for a pass of ``maxPrefillTokens`` tokens and the logits of ``maxBatchSize`` rows.
    package var activationBytes = 0
    /// The vision encoder's workspace: for ``VisionConfig/maxBatchSize`` of the largest images, but no more than a quarter of what is
    /// free; more images or larger ones then wait for the next pass.
    package var visionBytes = 0
    /// What the backend keeps beside the workspaces to pack the largest operand.
    package var scratchBytes = 0
    /// Features of images that wait for their pass: at most one pass and one session of rows.
    package var featureBytes = 0
    /// Features of images that were encoded before: ``VisionConfig/cacheBytes``, or a twentieth of what is free, at most 4 GB on a GPU.
    package var featureCacheBytes = 0
    /// Host memory of pictures that the caches keep to compare others with, for each of the two: a 32nd of what is free on the host.
    package var pictureBytes = Int.max
    /// The KV cache.
    package var cacheBytes = 0
    /// Memory that was free when the plan was made, weights not yet loaded.
    package var freeBytes = 0

    package var blockCount = 0
    package var blockSize = 0
    package var sessionLen = 0
    package var maxBatchSize = 0
    package var maxPrefillTokens = 0
    /// Most tokens of prompts in a pass that others decode in. On a CPU, where a pass takes as long as its tokens are many, a small part
    /// of ``maxPrefillTokens``, so that responses go on smoothly; large enough that reading the weights costs little beside computing.
    package var maxPrefillTokensBesideDecodes = 0

    package init() {}

    /// Plans `model`, built on a ``PlanningBackend`` that counted its weights.
    ///
    /// - Parameter overheadBytes: what the backend allocates for itself.
    /// - Throws: ``EngineError`` of kind `outOfMemory` saying what is needed, what is there and which option would fit, or
    ///   `invalidConfiguration` when the session is longer than the model allows.
    package init(
        model: LoadedModel, planner: PlanningBackend, config: EngineConfig, vision: VisionConfig, freeBytes: Int,
        overheadBytes: Int = 0
    ) throws {
        self.freeBytes = freeBytes
        pictureBytes = max(64 << 20, HostMemory.availableBytes / 32)
        weightBytes = planner.allocated["weights"] ?? 0
        blockSize = config.cacheBlockSeqLen
        maxBatchSize = config.maxBatchSize ?? (planner.device == .cpu ? 16 : 256)
        if let asked = config.sessionLen, asked > model.language.longestSession {
            throw EngineError(
                .invalidConfiguration,
                "sessionLen \(asked) is more than the \(model.language.longestSession) positions the model was made for; lower it"
            )
        }
        let wanted = config.sessionLen ?? model.language.maxPositions
        // A pass never holds more than every sequence's whole session.
        // Prompts that are computed in one pass bound the pass.
        let chunk = config.maxPrefillTokenNum ?? (planner.device == .cpu && model.spanRule != .prompt ? 2048 : 8192)
        maxPrefillTokens = max(min(chunk, wanted * maxBatchSize), maxBatchSize)
        maxPrefillTokensBesideDecodes = planner.device == .cpu ? min(maxPrefillTokens, 128) : maxPrefillTokens
        activationBytes = try MemoryPlan.activationBytes(
            model.language, tokens: maxPrefillTokens, rows: maxBatchSize, sessionLen: wanted, blockSize: blockSize,
            planner: planner)

        visionBytes = min(try MemoryPlan.visionBytes(model, vision, like: planner), freeBytes / 4)
        scratchBytes = overheadBytes + (planner.device == .cpu ? planner.largestOperand * planner.weightType.size : 0)
        if let encoder = model.vision {
            featureBytes = (maxPrefillTokens + wanted) * encoder.featureSize * planner.activationType.size
            featureCacheBytes = vision.cacheBytes ?? min(freeBytes / 20, planner.device == .cpu ? .max : 4_000_000_000)
        }

        let bytesPerBlock = model.language.cacheLayout.bytesPerToken(planner.cacheType) * blockSize
        let room = freeBytes - weightBytes - activationBytes - visionBytes - featureBytes - featureCacheBytes - scratchBytes
        guard room > bytesPerBlock else {
            throw EngineError(
                .outOfMemory,
                "weights need \(MemoryPlan.format(weightBytes)), activations \(MemoryPlan.format(activationBytes)) and images "
                    + "\(MemoryPlan.format(visionBytes + featureBytes + featureCacheBytes)), "
                    + "\(MemoryPlan.format(freeBytes)) are free on \(planner.device); lower maxPrefillTokenNum or maxBatchSize, use dtype bfloat16, "
                    + "or a smaller model")
        }
        let perSession = (wanted + blockSize - 1) / blockSize
        if config.cacheMaxEntryCount > 1 {
            blockCount = Int(config.cacheMaxEntryCount)
            guard blockCount <= room / bytesPerBlock else {
                throw EngineError(
                    .outOfMemory,
                    "\(blockCount) cache blocks need \(MemoryPlan.format(bytesPerBlock)) each, \(MemoryPlan.format(room)) are left; "
                        + "at most \(room / bytesPerBlock) fit (cacheMaxEntryCount)")
            }
        } else {
            blockCount = min(Int(Double(room) * config.cacheMaxEntryCount) / bytesPerBlock, perSession * maxBatchSize)
        }
        sessionLen = min(wanted, blockCount * blockSize)
        if config.sessionLen != nil, sessionLen < wanted {
            throw EngineError(
                .outOfMemory,
                "a session of \(wanted) tokens needs \(MemoryPlan.format(perSession * bytesPerBlock)) of cache, "
                    + "\(MemoryPlan.format(blockCount * bytesPerBlock)) are planned; at most sessionLen \(sessionLen) fits")
        }
        guard sessionLen > 0 else {
            throw EngineError(.outOfMemory, "no cache block fits the memory that is left; raise cacheMaxEntryCount")
        }
        cacheBytes = blockCount * bytesPerBlock
    }

    /// Bytes of workspace that a pass of `tokens` tokens and `rows` rows of logits takes at its worst, found by running it without
    /// computing.
    private static func activationBytes(
        _ language: any LanguageModel, tokens: Int, rows: Int, sessionLen: Int, blockSize: Int, planner: PlanningBackend
    ) throws -> Int {
        let workspace = try Workspace(backend: planner, byteCount: .max / 4)
        let context = ForwardContext(backend: planner, workspace: workspace)
        let cache = try KVCache(layout: language.cacheLayout, blockCount: 1, blockSize: blockSize, backend: planner)
        // Sequences cost block tables; all rows wanted, or all but one, are the most a pass can be asked for.
        var batch = ForwardBatch()
        let sequences = min(rows, tokens)
        batch.tokenIDs = [Int32](repeating: 0, count: tokens)
        batch.positions = Array(repeating: batch.tokenIDs, count: language.positionAxes)
        batch.slots = batch.tokenIDs
        batch.queryStarts = (0...sequences).map { Int32($0 == sequences ? tokens : $0) }
        batch.contextLengths = [Int32](repeating: Int32(sessionLen), count: sequences)
        batch.maxBlocks = (sessionLen + blockSize - 1) / blockSize
        batch.blockTables = [Int32](repeating: 0, count: sequences * batch.maxBlocks)
        for outputs in Set([tokens, max(1, tokens - 1)]) {
            batch.outputRows = Array(0..<Int32(outputs))
            try workspace.scope {
                let hidden = try language.forward(batch, cache: cache, context: context)
                let logits = try language.logits(hidden.rows(0..<min(rows, outputs)), context: context)
                // A backend whose activations are not float32 widens hidden states for the host.
                _ = try workspace.allocate(logits.shape, dtype: .float32)
            }
        }
        return workspace.highWater
    }

    /// Bytes of workspace for a pass over as many of the largest images as `vision` allows.
    ///
    /// What a pass needs grows by the same amount with every row (patch or tile), so passes over one and two small images tell.
    private static func visionBytes(_ model: LoadedModel, _ vision: VisionConfig, like planner: PlanningBackend) throws -> Int {
        guard let encoder = model.vision, let processor = model.imageProcessor else { return 0 }
        let side = 32
        let blank = try RGBImage(width: side, height: side, pixels: [UInt8](repeating: 0, count: side * side * 3))
        let image = try processor.process(blank, options: vision.imageOptions)
        let features = try Workspace(backend: planner, byteCount: .max / 4)
            .allocate(Shape(image.tokenCount, encoder.featureSize), dtype: planner.activationType)
        let one = try visionBytes(encoder, images: [image], features: [features], like: planner)
        let two = try visionBytes(encoder, images: [image, image], features: [features, features], like: planner)
        let rows = image.dimensions.first ?? 1
        let more = vision.maxBatchSize * processor.mostRows(vision.imageOptions) - rows
        // Pictures that come unresized are resized one after another, in the same memory.
        let pending = planner.device == .cpu ? 0 : CutPictures.pendingByteLimit
        return one + (two - one + rows - 1) / rows * max(0, more) + pending
    }

    /// Bytes of workspace that encoding these images takes.
    package static func visionBytes(
        _ encoder: any VisionEncoder, images: [ProcessedImage], features: [Tensor], like backend: any Backend
    ) throws -> Int {
        let planner = PlanningBackend(
            device: backend.device, activationType: backend.activationType, cacheType: backend.cacheType, weightType: .float32)
        let workspace = try Workspace(backend: planner, byteCount: .max / 4)
        try encoder.encode(images, context: ForwardContext(backend: planner, workspace: workspace), into: features)
        return workspace.highWater
    }

    /// Bytes in words: `1.5 GB`.
    package static func format(_ bytes: Int) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return unit == 0 ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(units[unit])"
    }
}
