import Layers
import Tensors
import Text

/// What choosing a sequence's tokens and showing them keeps between steps.
struct Choosing {
    let stopTokens: Set<Int32>
    var sampler: Sampler
    var detokenizer: StreamingDetokenizer
    var stopMatcher: StopMatcher
    /// What the penalties look at; followed only where there are some.
    var history = TokenHistory()
    let bans: TokenBans
    /// Where the response is in the request's guide.
    var matcher: (any TokenMatcher)?
    /// What the guide allows, kept to reuse its memory.
    private var mask: [UInt32] = []
    /// How the device chooses, but for the lane and the step.
    let row: SamplingRow
    /// How many of the tokens the device counts as seen; nil before it was told any in the sequence's lane.
    var toldTokens: Int?
    /// Positions before this one have been recorded, so that computing them again records nothing.
    var recorded = 0

    init(_ request: EngineRequest, stopTokens: Set<Int32>, seed: UInt64, tokenizer: any Tokenizer) throws {
        let generation = request.generation
        self.stopTokens = stopTokens
        row = SamplingRow(generation, seed: seed)
        sampler = Sampler(config: generation, seed: seed)
        detokenizer = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: generation.skipSpecialTokens)
        stopMatcher = StopMatcher(words: generation.stopWords, keepsWord: generation.includeStopWord)
        bans = try TokenBans(words: generation.badWords, tokenIDs: generation.badTokenIDs, tokenizer: tokenizer)
        matcher = request.guide?.makeMatcher(stopTokens: stopTokens)
        if matcher != nil, generation.ignoreEOS {
            throw EngineError(
                .invalidRequest, "ignoreEOS and responseFormat contradict each other: a response of a given form has an end")
        }
        if generation.repetitionPenalty != 1 { request.tokenIDs.forEach { history.read($0) } }
    }

    /// Gives tokens that the guide forbids a logit of negative infinity.
    mutating func applyGuide(to logits: UnsafeMutableBufferPointer<Float>) {
        guard matcher != nil else { return }
        var words: [UInt32] = []
        swap(&words, &mask)
        defer { swap(&words, &mask) }
        if words.count != (logits.count + 31) / 32 { words = [UInt32](repeating: 0, count: (logits.count + 31) / 32) }
        words.withUnsafeMutableBufferPointer { matcher?.fillMask($0) }
        for (word, bits) in words.enumerated() where bits != .max {
            for token in 32 * word..<min(32 * word + 32, logits.count) where bits >> UInt32(token & 31) & 1 == 0 {
                logits[token] = -.infinity
            }
        }
    }
}

/// How tokens are chosen and the response grows.
extension SequenceState {
    /// Whether the host must say which tokens the next one may be.
    var needsMask: Bool {
        choosing.matcher != nil || !choosing.bans.isEmpty || needsMoreTokens(scheduledCount - promptCount)
    }

    private func needsMoreTokens(_ step: Int) -> Bool {
        step < request.generation.minNewTokens && !choosing.stopTokens.isEmpty
    }

    /// Whether logits are handed out, or log-probabilities of the prompt.
    private var wantsLogits: Bool {
        request.generation.outputLogits != nil || request.generation.promptLogprobs != nil
    }
    var wantsHiddenStates: Bool { request.generation.outputLastHiddenState != nil || request.pooling != nil }

    /// How the device chooses the next token.
    func samplingRow(result: Int32) -> SamplingRow {
        var row = choosing.row
        row.lane = Int32(lane)
        row.result = result
        row.step = Int32(scheduledCount - promptCount)
        return row
    }

    /// Makes the lane's history the sequence's, unless the device followed it all along or no penalty looks at it.
    func tellHistory(to sampler: any DeviceSampler) throws {
        guard choosing.row.repetitionPenalty != 1 || choosing.row.kind == .counted else { return }
        // Nothing is under way for a sequence whose lane is new to it.
        if choosing.toldTokens != scheduledCount {
            try sampler.begin(lane: lane, tokens: tokens, counted: choosing.row.kind == .counted ? tokens[promptCount...] : nil)
        }
        // What the device chooses next it follows itself.
        choosing.toldTokens = scheduledCount + 1
    }

    /// Writes which tokens the next one may be, a bit each, when ``needsMask``.
    ///
    /// - Parameter mask: `[⌈V / 32⌉]`.
    /// - Returns: whether there is one.
    func fillMask(_ mask: UnsafeMutableBufferPointer<UInt32>, vocabularySize: Int) -> Bool {
        if choosing.matcher == nil { mask.update(repeating: .max) }
        choosing.matcher?.fillMask(mask)
        if vocabularySize & 31 != 0 { mask[mask.count - 1] &= (1 << UInt32(vocabularySize & 31)) - 1 }
        func clear(_ token: Int32) {
            guard token >= 0, Int(token) < vocabularySize else { return }
            mask[Int(token >> 5)] &= ~(1 << UInt32(token & 31))
        }
        choosing.bans.banned(after: tokens).forEach(clear)
        if needsMoreTokens(generatedCount) { choosing.stopTokens.forEach(clear) }
        return mask.contains { $0 != 0 }
    }

    /// Ends a sequence after which no token may come: well, where its guide is content, and otherwise with an error.
    func finishWithoutChoice() {
        if choosing.matcher?.mayEnd == true { finish(.stop) } else { finish(.error, error: nothingLeft) }
    }

    /// Whether something is wanted of every position. Such a prompt must be computed from its beginning: positions that came from a
    /// prefix cache have no hidden states.
    var wantsAllPositions: Bool {
        let generation = request.generation
        return generation.outputLogits == .all || generation.outputLastHiddenState == .all || generation.promptLogprobs != nil
            || request.pooling == .mean
    }

    /// Whether the logits of an output row are of use.
    func needsLogits(at position: Int) -> Bool {
        let generation = request.generation
        if position >= scheduledCount - 1 { return maxNewTokens > 0 || wantsLogits }
        return position >= choosing.recorded
            && (generation.outputLogits == .all || (generation.promptLogprobs != nil && position < promptCount - 1))
    }

    /// Takes an output row of a pass that the host follows: records what is wanted, and chooses the next token where the row is the newest.
    ///
    /// - Parameters:
    ///   - hiddenState: `[D]`, when ``wantsHiddenStates``.
    ///   - logits: `[V]`, when ``needsLogits(at:)``; changed when a token is chosen.
    /// - Returns: whether the sequence goes on.
    func take(
        position: Int, hiddenState: UnsafeMutableBufferPointer<Float>?, logits: UnsafeMutableBufferPointer<Float>?
    ) throws(EngineError) -> Bool {
        if position >= choosing.recorded {
            if let hiddenState { record(hiddenState: hiddenState, at: position) }
            if let logits { record(logits: logits, at: position) }
            choosing.recorded = position + 1
        }
        guard position == tokens.count - 1 else { return true }
        guard maxNewTokens > 0, let logits else {
            finish(.length)
            return false
        }
        return try advance(logits)
    }

    /// Chooses the next token from `logits` `[V]`, which it changes.
    ///
    /// - Returns: whether the sequence goes on.
    private func advance(_ logits: UnsafeMutableBufferPointer<Float>) throws(EngineError) -> Bool {
        let generation = request.generation
        let step = generatedCount
        let untouched: [Float]? = generation.logprobs == nil ? nil : Array(logits)
        guard logits[Int(Sampler.argmax(UnsafeBufferPointer(logits)))].isFinite else { throw notFinite }
        choosing.sampler.penalize(logits, choosing.history)
        for processor in generation.logitsProcessors { processor.apply(logits, tokens) }
        forbid(logits)
        let token = choosing.sampler.choose(UnsafeBufferPointer(logits), step: step)
        guard logits[Int(token)] > -.infinity else {
            finishWithoutChoice()
            return false
        }
        let entry = untouched.flatMap { logits in
            generation.logprobs.map { top in
                logits.withUnsafeBufferPointer { Sampler.logprobs($0, chosen: token, top: top) }
            }
        }
        return take(token, logprobs: entry)
    }

    /// Gives tokens that may not come next a logit of negative infinity.
    private func forbid(_ logits: UnsafeMutableBufferPointer<Float>) {
        choosing.applyGuide(to: logits)
        for token in choosing.bans.banned(after: tokens) { logits[Int(token)] = -.infinity }
        guard needsMoreTokens(generatedCount) else { return }
        for token in choosing.stopTokens where logits.indices.contains(Int(token)) { logits[Int(token)] = -.infinity }
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

    private var nothingLeft: EngineError {
        EngineError(
            .invalidRequest,
            "no token is left to choose at step \(generatedCount): responseFormat, badWords, badTokenIDs, minNewTokens and logitsProcessors together forbid all"
        )
    }

    /// Options are read where they are: a copy of them would retain a dozen arrays for each token.
    private func take(_ token: Int32, logprobs entry: TokenLogprobs?) -> Bool {
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
        lastTokenTime = now

        if choosing.stopTokens.contains(token) && !request.generation.ignoreEOS {
            finish(.stop)
            return false
        }
        if choosing.matcher?.accept(token) == false {
            finish(
                .error,
                error: EngineError(
                    .deviceFailure, "token \(token) was chosen, which responseFormat does not allow at step \(generatedCount)"))
            return false
        }
        tokens.append(token)
        response.tokenIDs.append(token)
        if request.generation.repetitionPenalty != 1 || request.generation.countsTokens { choosing.history.generated(token) }
        var piece = ResponsePiece(tokenIDs: [token], index: request.index)
        if let entry {
            response.logprobs?.append(entry)
            piece.logprobs = [entry]
        }
        let mayStop = generatedCount >= request.generation.minNewTokens
        let new = choosing.detokenizer.append(token)
        let (text, stopped) = mayStop ? choosing.stopMatcher.append(new) : (new, false)
        response.text += text
        piece.text = text
        if stopped {
            finish(.stop, piece: piece, flush: false)
            return false
        }
        // A guided response that is over need not wait for the model to say so.
        if choosing.matcher?.mustEnd == true {
            finish(.stop, piece: piece)
            return false
        }
        if mayStop,
            endsInLoop(
                tokens[promptCount...], size: request.generation.repetitionNgramSize,
                threshold: request.generation.repetitionNgramThreshold)
        {
            finish(.stop, piece: piece)
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
        if let firstTokenTime, let lastTokenTime {
            response.timings.decode = seconds(from: firstTokenTime, to: lastTokenTime)
        }
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

    // MARK: Records

    private func record(logits row: UnsafeMutableBufferPointer<Float>, at position: Int) {
        append(row, at: position, scope: request.generation.outputLogits, to: \.logits)
        guard let top = request.generation.promptLogprobs, position < promptCount - 1 else { return }
        let entry = Sampler.logprobs(UnsafeBufferPointer(row), chosen: tokens[position + 1], top: top)
        response.promptLogprobs?.append(entry)
    }

    private func record(hiddenState row: UnsafeMutableBufferPointer<Float>, at position: Int) {
        append(row, at: position, scope: request.generation.outputLastHiddenState, to: \.lastHiddenState)
        guard let pooling = request.pooling, position < promptCount else { return }
        switch pooling {
        case .last:
            if position == promptCount - 1 { response.pooledHiddenState = Array(row) }
        case .mean:
            var sum = response.pooledHiddenState ?? [Float](repeating: 0, count: row.count)
            response.pooledHiddenState = nil  // keeps the array unique, so adding copies nothing
            for index in row.indices { sum[index] += row[index] }
            if position == promptCount - 1 {
                for index in row.indices { sum[index] /= Float(promptCount) }
            }
            response.pooledHiddenState = sum
        }
    }

    private func append(
        _ row: UnsafeMutableBufferPointer<Float>, at position: Int, scope: GenerationConfig.OutputScope?,
        to output: WritableKeyPath<Response, OutputMatrix?>
    ) {
        // The last position of the prompt, and each after it, predicts a generated token.
        guard scope == .all || (scope == .generation && position >= promptCount - 1) else { return }
        var matrix = response[keyPath: output] ?? OutputMatrix(columns: row.count)
        response[keyPath: output] = nil
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

extension SamplingRow {
    /// What of a row is the same in all steps of a request.
    fileprivate init(_ generation: GenerationConfig, seed: UInt64) {
        self.init(lane: -1, result: -1)
        temperature = generation.temperature
        topK = Int32(clamping: generation.topK)
        topP = generation.topP
        minP = generation.minP
        repetitionPenalty = generation.repetitionPenalty
        presencePenalty = generation.presencePenalty
        frequencyPenalty = generation.frequencyPenalty
        self.seed = seed
    }
}

extension EngineRequest {
    /// Whether anything but tokens is wanted of the rows of its passes, or the host has a part in the choice.
    var wantsRows: Bool {
        generation.logprobs != nil || !generation.logitsProcessors.isEmpty || generation.outputLogits != nil
            || generation.promptLogprobs != nil || generation.outputLastHiddenState != nil || pooling != nil
    }
}
