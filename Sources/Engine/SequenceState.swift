import Layers
import Models
import Tensors
import Text

/// A request while the engine works on it: what of it is computed, and what it holds.
///
/// How its tokens are chosen and its response grows stands in `SequenceState+Choosing.swift`.
///
/// What every step of every sequence touches is exempt from run-time exclusivity checks, which were about a fifth of the host's part
/// of a step: the engine's executor is the only one to touch it, and no access calls out while it lasts.
final class SequenceState {
    let id: Int
    let request: EngineRequest
    /// Receives pieces as they are made; the last one carries the response.
    let sink: (ResponsePiece) -> Void

    /// Prompt and response so far.
    @exclusivity(unchecked) var tokens: [Int32]
    /// The place in line; see ``WaitingQueue``.
    let turn: Int
    /// Whether the sequence has a place in the batch.
    @exclusivity(unchecked) private(set) var isRunning = false
    /// Whether it ever had one.
    private(set) var wasAdmitted = false
    /// Positions whose keys and values are cached, or will be by the time anything submitted from now on looks.
    @exclusivity(unchecked) var computed = 0
    /// Where computing tokens that were known at admission ends: the prompt, and after a preemption the response so far.
    @exclusivity(unchecked) private(set) var prefillEnd: Int
    /// Tokens that the device is choosing or has chosen and the host has not seen.
    @exclusivity(unchecked) var inFlight = 0
    /// The sequence's place among those that run: where the device keeps its newest token.
    @exclusivity(unchecked) private(set) var lane = 0
    /// Whether the last piece was sent.
    @exclusivity(unchecked) var isDone = false
    /// Cache blocks of the computed positions and of those that the next passes compute.
    @exclusivity(unchecked) var held: SequenceBlocks
    /// Whether the host must see rows of the pass: to record them, or to choose a token itself.
    let needsHost: Bool
    /// Most tokens to generate after limits of session and request.
    let maxNewTokens: Int

    /// Rotary positions of the prompt `[axes][T]` and of the first generated token.
    let promptPositions: [[Int32]]
    let nextPosition: Int32

    let imageRuns: [ImageRun]
    /// Runs of prompt tokens that see one another whole, ascending; each is computed in one pass.
    let spans: [Range<Int>]
    /// The request's images, equal ones the same object.
    let images: [InternedImage]
    /// Features of each image while a pass to come needs them.
    var features: [HeldFeatures?]
    /// Images whose origin was counted.
    private var notedImages: Set<Int> = []
    /// Marks around each pass of the vision encoder that ran behind the host.
    var visionPasses: [(before: any StreamMark, after: any StreamMark)] = []

    /// What choosing tokens keeps between steps.
    @exclusivity(unchecked) var choosing: Choosing
    @exclusivity(unchecked) var response = Response()
    let clock = ContinuousClock()
    let submitted: ContinuousClock.Instant
    var prefillStart: ContinuousClock.Instant?
    @exclusivity(unchecked) var firstTokenTime: ContinuousClock.Instant?
    @exclusivity(unchecked) var lastTokenTime: ContinuousClock.Instant?

    init(
        id: Int, request: EngineRequest, maxNewTokens: Int, positions: (positions: [[Int32]], nextPosition: Int32),
        imageRuns: [ImageRun], spanRule: SpanRule, stopTokens: Set<Int32>, seed: UInt64, tokenizer: any Tokenizer,
        sink: @escaping (ResponsePiece) -> Void
    ) throws {
        self.id = id
        self.request = request
        self.maxNewTokens = maxNewTokens
        needsHost = maxNewTokens == 0 || request.wantsRows
        self.sink = sink
        self.imageRuns = imageRuns
        spans = SequenceState.spans(spanRule, promptCount: request.tokenIDs.count, imageRuns)
        turn = id - request.priority * WaitingQueue.ageing
        prefillEnd = request.tokenIDs.count
        images = request.internedImages
        features = Array(repeating: nil, count: images.count)
        held = SequenceBlocks(images: images, runs: imageRuns, isShared: spanRule != .prompt)
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
    var isPrefilled: Bool { computed >= prefillEnd }
    /// Tokens of prompt and response, those under way included.
    var scheduledCount: Int { tokens.count + inFlight }
    /// Whether a decoding step can be scheduled.
    var wantsToken: Bool { isPrefilled && scheduledCount - promptCount < maxNewTokens && computed < scheduledCount }
    /// A token's id, or `-1 - lane` where only the device knows it.
    func token(_ index: Int) -> Int32 { index < tokens.count ? tokens[index] : Int32(-1 - lane) }

    /// Rotary position of a token on an axis: the prompt's own, later tokens count on.
    func position(_ index: Int, axis: Int) -> Int32 {
        index < promptCount ? promptPositions[axis][index] : nextPosition + Int32(index - promptCount)
    }

    // MARK: Places in the batch

    /// Most leading tokens that may come from the prefix cache. Where something is wanted of every position, only what was recorded before
    /// need not be computed.
    var prefixLimit: Int { wantsAllPositions ? min(choosing.recorded, tokens.count - 1) : tokens.count - 1 }

    /// Takes a place, with blocks for all tokens, the first `computed` of which need no computing.
    func enter(computed: Int, lane: Int) {
        isRunning = true
        wasAdmitted = true
        self.computed = computed
        self.lane = lane
        prefillEnd = tokens.count
    }

    /// Gives up the place and, with it, what was computed; tokens and outputs stay.
    func leave() {
        isRunning = false
        computed = 0
        choosing.toldTokens = nil
        for image in features.indices { features[image] = nil }
    }

    // MARK: Spans

    private static func spans(_ rule: SpanRule, promptCount: Int, _ runs: [ImageRun]) -> [Range<Int>] {
        switch rule {
        case .causal: []
        case .images: runs.map(\.positions)
        case .prompt: [0..<promptCount]
        }
    }

    /// Of the next `count` tokens those that end in no span's middle.
    ///
    /// - Parameter most: how many there may be where a span begins with them and goes on behind `count`.
    func uncut(_ count: Int, most: Int) -> Int {
        let end = computed + count
        guard let span = spans.first(where: { $0.lowerBound < end && end < $0.upperBound }) else { return count }
        if span.lowerBound > computed { return span.lowerBound - computed }
        let whole = span.upperBound - computed
        return whole <= most ? whole : 0
    }

    // MARK: Images

    /// Images without features that positions of `range` show.
    func missingImages(in range: Range<Int>) -> [Int] {
        var missing: [Int] = []
        for run in imageRuns where run.positions.overlaps(range) && features[run.image] == nil && missing.last != run.image {
            missing.append(run.image)
        }
        return missing
    }

    /// Images no part of which lies at `position` or after it.
    func imagesBefore(_ position: Int) -> [Int] {
        guard let after = imageRuns.first(where: { $0.positions.upperBound > position }) else { return Array(images.indices) }
        return Array(0..<after.image)
    }

    /// Notes where the features of an image came from.
    ///
    /// - Returns: whether it was the first time; after a preemption they may be needed again.
    func noteImage(_ image: Int, isCached: Bool) -> Bool {
        guard notedImages.insert(image).inserted else { return false }
        if isCached { response.cachedImageCount += 1 }
        return true
    }

    /// How many of the next `count` tokens can be computed with the features there are, ending in no span's middle.
    func ready(_ count: Int) -> Int {
        let range = computed..<computed + count
        let missing = imageRuns.first { $0.positions.overlaps(range) && features[$0.image] == nil }
        return missing.map { uncut(max(0, $0.start - computed), most: 0) } ?? count
    }

    /// Lets go of features that no position to come shows.
    func releaseImages() {
        for image in features.indices where features[image] != nil {
            if !imageRuns.contains(where: { $0.image == image && $0.positions.upperBound > computed }) { features[image] = nil }
        }
    }

    // MARK: Times

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
