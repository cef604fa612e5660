import Layers
import Models
import Tensors
import Text

/// A request while the engine works on it: what of it is computed, and what it holds.
///
/// How its tokens are chosen and its response grows stands in `SequenceState+Choosing.swift`.
final class SequenceState {
    let id: Int
    let request: EngineRequest
    /// Receives pieces as they are made; the last one carries the response.
    let sink: (ResponsePiece) -> Void

    /// Prompt and response so far.
    var tokens: [Int32]
    /// Positions whose keys and values are cached, or will be by the time anything submitted from now on looks.
    var computed = 0
    /// Tokens that the device is choosing or has chosen and the host has not seen.
    var inFlight = 0
    /// The sequence's place among those that run: where the device keeps its newest token.
    var lane = 0
    /// Whether the last piece was sent.
    var isDone = false
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
    /// Marks around each pass of the vision encoder that ran behind the host.
    var visionPasses: [(before: any StreamMark, after: any StreamMark)] = []

    /// What choosing tokens keeps between steps.
    var choosing: Choosing
    var response = Response()
    let clock = ContinuousClock()
    let submitted: ContinuousClock.Instant
    var prefillStart: ContinuousClock.Instant?
    var firstTokenTime: ContinuousClock.Instant?

    init(
        id: Int, request: EngineRequest, maxNewTokens: Int, positions: (positions: [[Int32]], nextPosition: Int32),
        imageRuns: [ImageRun], stopTokens: Set<Int32>, seed: UInt64, tokenizer: any Tokenizer,
        sink: @escaping (ResponsePiece) -> Void
    ) throws {
        self.id = id
        self.request = request
        self.maxNewTokens = maxNewTokens
        self.sink = sink
        self.imageRuns = imageRuns
        tokens = request.tokenIDs
        tokens.reserveCapacity(tokens.count + maxNewTokens)
        promptPositions = positions.positions
        nextPosition = positions.nextPosition
        choosing = try Choosing(request, stopTokens: stopTokens, seed: seed, tokenizer: tokenizer)
        submitted = clock.now
        response.inputTokenCount = request.tokenIDs.count
        response.index = request.index
        if request.generation.logprobs != nil { response.logprobs = [] }
        if request.generation.promptLogprobs != nil { response.promptLogprobs = [] }
    }

    var promptCount: Int { request.tokenIDs.count }
    var generatedCount: Int { tokens.count - promptCount }
    var isPrefilled: Bool { computed >= promptCount }
    /// Tokens of prompt and response, those under way included.
    var scheduledCount: Int { tokens.count + inFlight }
    /// Whether a decoding step can be scheduled.
    var wantsToken: Bool { isPrefilled && scheduledCount - promptCount < maxNewTokens && computed < scheduledCount }
    /// A token's id, or `-1 - lane` where only the device knows it.
    func token(_ index: Int) -> Int32 { index < tokens.count ? tokens[index] : Int32(-1 - lane) }

    var needsImages: Bool { !isPrefilled && features.count < request.images.count }

    /// Rotary position of a token on an axis: the prompt's own, later tokens count on.
    func position(_ index: Int, axis: Int) -> Int32 {
        index < promptCount ? promptPositions[axis][index] : nextPosition + Int32(index - promptCount)
    }

    func markPrefillStart() {
        guard prefillStart == nil else { return }
        let now = clock.now
        prefillStart = now
        response.timings.queue = seconds(from: submitted, to: now) - response.timings.vision
    }

    func seconds(from start: ContinuousClock.Instant, to end: ContinuousClock.Instant) -> Double {
        (end - start) / .seconds(1)
    }
}
