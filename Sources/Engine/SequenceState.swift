import Layers
import Models
import Tensors
import Text

/// A request while the engine works on it.
final class SequenceState {
    let id: Int
    let request: EngineRequest
    /// Receives pieces as they are made; the last one carries the response.
    let sink: (ResponsePiece) -> Void

    /// Prompt and response so far.
    private(set) var tokens: [Int32]
    /// Positions whose keys and values are cached.
    var computed = 0
    /// Cache blocks, for prompt and longest response.
    var blocks: [Int32] = []
    /// Most tokens to generate after limits of session and request.
    let maxNewTokens: Int

    /// Rotary positions of the prompt `[axes][T]` and of the first generated token.
    let promptPositions: [[Int32]]
    let nextPosition: Int32

    let imageRuns: [ImageRun]
    /// Features of each image once encoded; released after the prefill.
    var features: [ImageFeatures] = []

    private let stopTokens: Set<Int32>
    private var sampler: Sampler
    private var detokenizer: StreamingDetokenizer
    private var stopMatcher: StopMatcher
    /// Tokens of prompt and response, each once: what the repetition penalty looks at.
    private var seen: [Int32] = []
    private var seenSet: Set<Int32> = []

    var response = Response()
    private let clock = ContinuousClock()
    private let submitted: ContinuousClock.Instant
    private var prefillStart: ContinuousClock.Instant?
    private var firstTokenTime: ContinuousClock.Instant?

    init(
        id: Int, request: EngineRequest, maxNewTokens: Int, positions: (positions: [[Int32]], nextPosition: Int32),
        imageRuns: [ImageRun], stopTokens: Set<Int32>, seed: UInt64, tokenizer: any Tokenizer,
        sink: @escaping (ResponsePiece) -> Void
    ) {
        self.id = id
        self.request = request
        self.maxNewTokens = maxNewTokens
        self.sink = sink
        self.stopTokens = stopTokens
        self.imageRuns = imageRuns
        tokens = request.tokenIDs
        tokens.reserveCapacity(tokens.count + maxNewTokens)
        promptPositions = positions.positions
        nextPosition = positions.nextPosition
        let generation = request.generation
        sampler = Sampler(config: generation, seed: seed)
        detokenizer = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: generation.skipSpecialTokens)
        stopMatcher = StopMatcher(words: generation.stopWords, keepsWord: generation.includeStopWord)
        submitted = clock.now
        response.inputTokenCount = request.tokenIDs.count
        response.index = request.index
        if generation.logprobs != nil { response.logprobs = [] }
        if generation.repetitionPenalty != 1 { request.tokenIDs.forEach { note($0) } }
    }

    var promptCount: Int { request.tokenIDs.count }
    var generatedCount: Int { tokens.count - promptCount }
    var isPrefilled: Bool { computed >= promptCount }
    var needsImages: Bool { !isPrefilled && features.count < request.images.count }

    /// Rotary position of a token on an axis: the prompt's own, later tokens count on.
    func position(_ index: Int, axis: Int) -> Int32 {
        index < promptCount ? promptPositions[axis][index] : nextPosition + Int32(index - promptCount)
    }

    /// Whether every computed position's logits or hidden states are wanted.
    var wantsAllPositions: Bool {
        request.generation.outputLogits == .all || request.generation.outputLastHiddenState == .all
    }

    func markPrefillStart() {
        guard prefillStart == nil else { return }
        let now = clock.now
        prefillStart = now
        response.timings.queue = seconds(from: submitted, to: now) - response.timings.vision
    }

    /// Chooses the next token from `logits` `[V]`, which it changes.
    ///
    /// - Returns: whether the sequence goes on.
    func advance(_ logits: UnsafeMutableBufferPointer<Float>) throws(EngineError) -> Bool {
        let generation = request.generation
        let step = generatedCount
        let untouched: [Float]? = generation.logprobs == nil ? nil : Array(logits)
        let banned = step < generation.minNewTokens ? stopTokens : []
        let token = sampler.sample(logits, seen: seen, banned: banned, step: step)
        guard logits.indices.contains(Int(token)), logits[Int(token)] > -.infinity else {
            throw EngineError(
                .deviceFailure,
                "the model's logits at token \(tokens.count) are not finite; check its weights for NaN or infinity")
        }
        let now = clock.now
        if firstTokenTime == nil {
            firstTokenTime = now
            response.timings.firstToken = seconds(from: submitted, to: now)
            response.timings.prefill = seconds(from: prefillStart ?? submitted, to: now)
        }
        response.timings.decode = seconds(from: firstTokenTime ?? now, to: now)

        if stopTokens.contains(token) && !generation.ignoreEOS {
            finish(.stop)
            return false
        }
        tokens.append(token)
        response.tokenIDs.append(token)
        if generation.repetitionPenalty != 1 { note(token) }
        var piece = ResponsePiece(tokenIDs: [token], index: request.index)
        if let untouched, let top = generation.logprobs {
            let entry = untouched.withUnsafeBufferPointer { Sampler.logprobs($0, chosen: token, top: top) }
            response.logprobs?.append(entry)
            piece.logprobs = [entry]
        }
        let (text, stopped) = stopMatcher.append(detokenizer.append(token))
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
        var piece = piece ?? ResponsePiece(index: request.index)
        if flush {
            let (text, stopped) = stopMatcher.append(detokenizer.flush())
            let rest = stopped ? text : text + stopMatcher.flush()
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

    private func note(_ token: Int32) {
        if seenSet.insert(token).inserted { seen.append(token) }
    }

    private func seconds(from start: ContinuousClock.Instant, to end: ContinuousClock.Instant) -> Double {
        (end - start) / .seconds(1)
    }
}
