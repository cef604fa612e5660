import Layers
import Tensors
import Text

/// What choosing a sequence's tokens and showing them keeps between steps.
struct Choosing {
    let stopTokens: Set<Int32>
    let seed: UInt64
    var sampler: Sampler
    var detokenizer: StreamingDetokenizer
    var stopMatcher: StopMatcher
    /// Tokens of prompt and response, each once: what the repetition penalty looks at.
    private(set) var seen: [Int32] = []
    private var seenSet: Set<Int32> = []
    /// How many of the tokens the device counts as seen; nil before it was told any in the sequence's lane.
    var toldTokens: Int?

    init(_ request: EngineRequest, stopTokens: Set<Int32>, seed: UInt64, tokenizer: any Tokenizer) {
        let generation = request.generation
        self.stopTokens = stopTokens
        self.seed = seed
        sampler = Sampler(config: generation, seed: seed)
        detokenizer = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: generation.skipSpecialTokens)
        stopMatcher = StopMatcher(words: generation.stopWords, keepsWord: generation.includeStopWord)
        if generation.repetitionPenalty != 1 { request.tokenIDs.forEach { note($0) } }
    }

    mutating func note(_ token: Int32) {
        if seenSet.insert(token).inserted { seen.append(token) }
    }
}

/// How tokens are chosen and the response grows.
extension SequenceState {
    /// Whether the host needs nothing of the logits.
    var choosesOnDevice: Bool {
        let generation = request.generation
        return maxNewTokens > 0 && generation.logprobs == nil && generation.outputLogits == nil
            && generation.outputLastHiddenState == nil && generation.minNewTokens <= generatedCount
    }

    /// How the device chooses the next token.
    func samplingRow(result: Int32) -> SamplingRow {
        let generation = request.generation
        var row = SamplingRow(lane: Int32(lane), result: result)
        row.temperature = generation.temperature
        row.topK = Int32(clamping: generation.topK)
        row.topP = generation.topP
        row.minP = generation.minP
        row.repetitionPenalty = generation.repetitionPenalty
        row.seed = choosing.seed
        row.step = Int32(scheduledCount - promptCount)
        return row
    }

    /// Makes the lane's history the sequence's, unless the device followed it all along.
    func tellSeenTokens(to sampler: any DeviceSampler) throws {
        // Only passes in which the host chose leave a difference, and nothing is under way after those.
        if choosing.toldTokens != scheduledCount { try sampler.begin(lane: lane, tokens: tokens) }
        // What the device chooses next it marks itself.
        choosing.toldTokens = scheduledCount + 1
    }

    /// Whether every computed position's logits or hidden states are wanted.
    var wantsAllPositions: Bool {
        request.generation.outputLogits == .all || request.generation.outputLastHiddenState == .all
    }

    /// Chooses the next token from `logits` `[V]`, which it changes.
    ///
    /// - Returns: whether the sequence goes on.
    func advance(_ logits: UnsafeMutableBufferPointer<Float>) throws(EngineError) -> Bool {
        let generation = request.generation
        let step = generatedCount
        let untouched: [Float]? = generation.logprobs == nil ? nil : Array(logits)
        let banned = step < generation.minNewTokens ? choosing.stopTokens : []
        let token = choosing.sampler.sample(logits, seen: choosing.seen, banned: banned, step: step)
        guard logits.indices.contains(Int(token)), logits[Int(token)] > -.infinity else {
            throw notFinite
        }
        let entry = untouched.flatMap { logits in
            generation.logprobs.map { top in
                logits.withUnsafeBufferPointer { Sampler.logprobs($0, chosen: token, top: top) }
            }
        }
        return take(token, logprobs: entry)
    }

    /// Takes the next token as the device chose it.
    ///
    /// - Returns: whether the sequence goes on.
    func accept(_ token: Int32) throws(EngineError) -> Bool {
        guard token >= 0 else { throw notFinite }
        return take(token, logprobs: nil)
    }

    private var notFinite: EngineError {
        EngineError(
            .deviceFailure, "the model's logits at token \(tokens.count) are not finite; check its weights for NaN or infinity")
    }

    private func take(_ token: Int32, logprobs entry: TokenLogprobs?) -> Bool {
        let generation = request.generation
        let now = clock.now
        if firstTokenTime == nil {
            firstTokenTime = now
            // The passes are over by now. A time that cannot be read is a time that is not told, no reason to fail.
            let vision = visionPasses.reduce(0) { $0 + ((try? $1.after.seconds(since: $1.before)) ?? 0) }
            visionPasses.removeAll()
            response.timings.vision += vision
            response.timings.firstToken = seconds(from: submitted, to: now)
            response.timings.prefill = max(0, seconds(from: prefillStart ?? submitted, to: now) - vision)
        }
        response.timings.decode = seconds(from: firstTokenTime ?? now, to: now)

        if choosing.stopTokens.contains(token) && !generation.ignoreEOS {
            finish(.stop)
            return false
        }
        tokens.append(token)
        response.tokenIDs.append(token)
        if generation.repetitionPenalty != 1 { choosing.note(token) }
        var piece = ResponsePiece(tokenIDs: [token], index: request.index)
        if let entry {
            response.logprobs?.append(entry)
            piece.logprobs = [entry]
        }
        let (text, stopped) = choosing.stopMatcher.append(choosing.detokenizer.append(token))
        response.text += text
        piece.text = text
        if stopped {
            finish(.stop, piece: piece, flush: false)
            return false
        }
        if generatedCount >= maxNewTokens {
            finish(.length, piece: piece)
            return false
        }
        sink(piece)
        return true
    }

    /// Sends the last piece with the whole response.
    func finish(_ reason: FinishReason, piece: ResponsePiece? = nil, flush: Bool = true, error: (any Error)? = nil) {
        isDone = true
        var piece = piece ?? ResponsePiece(index: request.index)
        if flush {
            let (text, stopped) = choosing.stopMatcher.append(choosing.detokenizer.flush())
            let rest = stopped ? text : text + choosing.stopMatcher.flush()
            response.text += rest
            piece.text += rest
        }
        response.finishReason = reason
        response.error = error
        trimOutputs()
        piece.response = response
        sink(piece)
    }

    /// Adds one row of logits to the outputs, if they are wanted at this point.
    func record(logits row: UnsafeMutableBufferPointer<Float>, isLastOfPass: Bool) {
        record(row, scope: request.generation.outputLogits, isLastOfPass: isLastOfPass, into: \.logits)
    }

    func record(hiddenState row: UnsafeMutableBufferPointer<Float>, isLastOfPass: Bool) {
        record(row, scope: request.generation.outputLastHiddenState, isLastOfPass: isLastOfPass, into: \.lastHiddenState)
    }

    private func record(
        _ row: UnsafeMutableBufferPointer<Float>, scope: GenerationConfig.OutputScope?, isLastOfPass: Bool,
        into output: WritableKeyPath<Response, OutputMatrix?>
    ) {
        // Only the pass that completes the prompt, and each after it, predicts a generated token.
        guard scope == .all || (scope == .generation && isLastOfPass && computed >= promptCount) else { return }
        var matrix = response[keyPath: output] ?? OutputMatrix(columns: row.count)
        response[keyPath: output] = nil  // keeps the array unique, so appending copies nothing
        matrix.values.append(contentsOf: row)
        matrix.rows += 1
        response[keyPath: output] = matrix
    }

    /// Drops the row that predicted the stop token, so that rows and tokens of the response match.
    private func trimOutputs() {
        func trim(_ matrix: inout OutputMatrix?, to rows: Int) {
            guard let full = matrix, full.rows > rows else { return }
            matrix?.values.removeLast((full.rows - rows) * full.columns)
            matrix?.rows = rows
        }
        let generated = response.tokenIDs.count
        let all = promptCount + max(0, generated - 1)
        trim(&response.logits, to: request.generation.outputLogits == .all ? all : generated)
        trim(&response.lastHiddenState, to: request.generation.outputLastHiddenState == .all ? all : generated)
    }
}
