import Engine
import Layers
import Models
import Tensors
import TestKit
import Text

/// An engine over ``EchoModel`` with a life of its own: requests of all kinds arrive at random, share beginnings and pictures, are cancelled, run
/// out of time, fail and are preempted. Whatever happens, everything that is observed must be right.
///
/// The model's answers depend on all that a sequence sees through its block table, so a block, picture or position that is not its own changes
/// them.
final class Simulation {
    struct Setting: Sendable {
        var seed: UInt64 = 1
        var isLate = false
        var steps = 1000
        var blocks = 40
        var batch = 8
        var chunk = 32
        var maxWaiting = 24
        /// Requests that arrive in a step on average.
        var arrivals = 0.8
        var cacheBytes: Int? = 256
        var caches = true
        /// Steps between looks at the engine's books.
        var checkEvery = 20
    }

    /// Events that show whether a run met what it should.
    struct Counts {
        var submitted = 0
        var finished = 0
        var cancelled = 0
        var overdue = 0
        var refused = 0
        var failed = 0
        var suspensions = 0
        var preemptions = 0
        var prefixHits = 0
        var imageHits = 0
        var tokens = 0
    }

    private struct Pending {
        let id: Int
        let request: EngineRequest
        /// What its positions show: a token's number or a pixel.
        let seen: [Float]
        /// The end of its priority's advantage; see ``WaitingQueue``.
        let turn: Int
        var tokens: [Int32] = []
        var text = ""
        var hasRun = false
        var wasCancelled = false
        var hasBadPicture = false
    }

    /// Something said before, to be gone on from.
    private struct Conversation {
        var tokens: [Int32]
        var images: [ProcessedImage]
    }

    private let setting: Setting
    private var random: SeededGenerator
    private let model: LoadedModel
    private let language = EchoModel()
    private let plan: MemoryPlan
    private let config: EngineConfig
    private let vision: VisionConfig
    private var core: EngineCore
    private let alone: EngineCore
    private let interner = ImageInterner()
    private let pictures: [ProcessedImage]
    private static let stopToken: Int32 = 13

    private var pending: [Int: Pending] = [:]
    private var conversations: [Conversation] = []
    /// Steps in which the device may report that it failed.
    private var failingSteps = 0
    private var nextIndex = 0
    private(set) var counts = Counts()
    /// The first thing that went wrong.
    private(set) var wrong: String?

    init(_ setting: Setting) throws {
        self.setting = setting
        random = SeededGenerator(seed: setting.seed)
        let rule = PromptRule(imagePlaceholder: "<image>", imageToken: "<image>", configuredImageTokenID: 0) { _ in "" }
        model = LoadedModel(
            family: "Echo", language: language, vision: EchoEncoder(), imageProcessor: EchoImageProcessor(), promptRule: rule,
            eosTokenIDs: [])
        config = EngineConfig(
            sessionLen: 64, maxBatchSize: setting.batch, cacheMaxEntryCount: Double(setting.blocks), cacheBlockSeqLen: 4,
            maxPrefillTokenNum: setting.chunk, enablePrefixCaching: setting.caches, maxWaitingRequests: setting.maxWaiting)
        vision = VisionConfig(maxBatchSize: 3, cacheBytes: setting.cacheBytes)
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        plan = try MemoryPlan(model: model, planner: planner, config: config, vision: vision, freeBytes: 1 << 24)
        core = try Self.core(setting, model, plan, vision, config)
        var plain = config
        plain.enablePrefixCaching = false
        let lonely = LoadedModel(
            family: "Echo", language: EchoModel(), vision: EchoEncoder(), imageProcessor: EchoImageProcessor(), promptRule: rule,
            eosTokenIDs: [])
        alone = try EngineCore(
            model: lonely, plan: plan, backend: ReferenceBackend(), tokenizer: LetterTokenizer(), stopTokens: [Self.stopToken],
            vision: vision, config: plain)
        // Pictures of three sizes; within one they differ in a single value.
        pictures = (0..<9).map { index in
            let count = [3, 6, 11][index % 3]
            return ProcessedImage(
                pixels: (0..<count).map { $0 == count / 2 ? 200 + Float(index / 3) : Float(101 + $0) }, dimensions: [count],
                tokenCount: count)
        }
    }

    private static func core(
        _ setting: Setting, _ model: LoadedModel, _ plan: MemoryPlan, _ vision: VisionConfig, _ config: EngineConfig
    ) throws -> EngineCore {
        try EngineCore(
            model: model, plan: plan, backend: setting.isLate ? LateBackend() : ReferenceBackend(),
            tokenizer: LetterTokenizer(), stopTokens: [stopToken], vision: vision, config: config)
    }

    // MARK: The run

    /// Runs to the end, or until something is wrong.
    func run() throws {
        for step in 0..<setting.steps {
            try act()
            advance()
            if step % setting.checkEvery == 0 { check() }
            if let wrong {
                self.wrong = "step \(step): \(wrong)"
                return
            }
        }
        var steps = 0
        while core.hasWork, steps < 5000 {
            advance()
            steps += 1
        }
        check()
        addStatistics()
        expect(!core.hasWork && pending.isEmpty, "\(pending.count) requests do not come to an end")
        expect(core.statistics.usedBlocks == 0, "\(core.statistics.usedBlocks) blocks are held by nobody")
    }

    private func act() throws {
        var arrivals = setting.arrivals
        // Now and then many come at once.
        if chance(0.01) { arrivals += 10 }
        while arrivals > 0 {
            if chance(min(1, arrivals)) { try arrive() }
            arrivals -= 1
        }
        if chance(0.05), let index = pending.keys.sorted().randomElement(using: &random) { cancel(index) }
        if failingSteps == 0, chance(0.002) {
            language.failingPass = language.passes.count
            language.failsLate = chance(0.5)
            failingSteps = 3
        }
        if chance(0.0005) { try sleepAndWake() }
    }

    private func advance() {
        let waiting = Set(core.waitingRequests)
        core.step()
        language.failingPass = nil
        failingSteps = max(0, failingSteps - 1)
        checkOrder(waitedBefore: waiting)
    }

    private func check() {
        if let first = core.checkInvariants().first { expect(false, first) }
    }

    /// Who came in during a step goes before everyone who still waits.
    private func checkOrder(waitedBefore: Set<Int>) {
        let waiting = core.waitingRequests
        for (a, b) in zip(waiting, waiting.dropFirst()) { expect(goesBefore(a, b), "\(a) waits before \(b)") }
        guard let next = waiting.first else { return }
        for id in core.runningRequests where waitedBefore.contains(id) {
            expect(goesBefore(id, next), "request \(id) was let in before \(next)")
        }
    }

    private func goesBefore(_ a: Int, _ b: Int) -> Bool { (turns[a] ?? 0, a) < (turns[b] ?? 0, b) }
    private var turns: [Int: Int] = [:]

    // MARK: Requests

    private func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }

    /// Text of few words and pictures of few kinds, mostly after something that was there before.
    private func conversation() -> Conversation {
        var conversation = Conversation(tokens: [], images: [])
        if chance(0.7), let old = conversations.randomElement(using: &random) { conversation = old }
        if conversation.tokens.isEmpty {
            conversation.tokens = Array([5, 6, 7, 8, 9, 10].prefix(Int.random(in: 0...6, using: &random)))
        }
        for _ in 0..<Int.random(in: 1...2, using: &random) {
            if chance(0.35), let picture = pictures.randomElement(using: &random) {
                conversation.images.append(picture)
                conversation.tokens += [Int32](repeating: 0, count: picture.tokenCount)
            }
            conversation.tokens += (0..<Int.random(in: 1...5, using: &random)).map { _ in Int32.random(in: 1...4, using: &random)
            }
        }
        return conversation
    }

    private func arrive() throws {
        var conversation = conversation()
        if conversation.tokens.count > 50 { conversation = Conversation(tokens: [1, 2, 3], images: []) }
        var hasBadPicture = false
        if chance(0.004) {
            hasBadPicture = true
            conversation.images.append(ProcessedImage(pixels: [7, -1], dimensions: [2], tokenCount: 2))
            conversation.tokens += [0, 0, 3]
        }
        var generation = GenerationConfig(maxNewTokens: Int.random(in: 1...14, using: &random))
        var options = [(inout GenerationConfig) -> Void]()
        options.append { $0.ignoreEOS = true }
        options.append { $0.logprobs = 2 }
        options.append { $0.outputLogits = .all }
        options.append { $0.promptLogprobs = 1 }
        options.append { $0.outputLastHiddenState = .generation }
        let seed = random.next()
        options.append {
            $0.temperature = 5
            $0.randomSeed = seed
        }
        options.append { $0.repetitionPenalty = 1.5 }
        options.append { $0.frequencyPenalty = 0.5 }
        options.append { $0.minNewTokens = min(3, $0.maxNewTokens ?? 3) }
        if chance(0.06), let option = options.randomElement(using: &random) { option(&generation) }
        var request = EngineRequest(
            tokenIDs: conversation.tokens, images: conversation.images, generation: generation, index: nextIndex,
            priority: chance(0.1) ? Int.random(in: -1...1, using: &random) : 0)
        if chance(0.02) { request.deadline = .now + .microseconds(Int.random(in: 50...2000, using: &random)) }
        request.intern(by: interner)
        submit(request, hasBadPicture: hasBadPicture)
    }

    private func submit(_ request: EngineRequest, hasBadPicture: Bool) {
        var rows = request.images.flatMap(\.pixels)[...]
        let seen = request.tokenIDs.map { $0 == 0 ? rows.removeFirst() : Float($0) }
        let index = request.index
        do {
            let id = try core.submit(request) { [unowned self] in take($0) }
            let turn = id - 256 * request.priority
            turns[id] = turn
            pending[index] = Pending(id: id, request: request, seen: seen, turn: turn, hasBadPicture: hasBadPicture)
            nextIndex += 1
            counts.submitted += 1
        } catch {
            let kind = (error as? EngineError)?.kind
            let isBusy = kind == .busy && core.waitingRequests.count >= setting.maxWaiting
            expect(isBusy || (kind == .deadlineExceeded && request.deadline != nil), "a request was refused: \(error)")
            counts.refused += 1
        }
    }

    private func cancel(_ index: Int) {
        guard let id = pending[index]?.id else { return }
        pending[index]?.wasCancelled = true
        core.cancel(id)
        expect(pending[index] == nil, "a cancelled request has not ended")
        expect(!core.runningRequests.contains(id) && !core.waitingRequests.contains(id), "a cancelled request is still there")
    }

    private func sleepAndWake() throws {
        let suspended = core.suspend()
        expect(core.statistics.usedBlocks == 0 && !core.hasWork, "a suspended engine holds something")
        addStatistics()
        core = try Self.core(setting, model, plan, vision, config)
        core.resume(suspended)
        counts.suspensions += 1
    }

    private func addStatistics() {
        let statistics = core.statistics
        counts.preemptions += statistics.preemptions
        counts.prefixHits += statistics.prefixTokensHit
        counts.imageHits += statistics.imagesHit
    }

    // MARK: Answers

    private func take(_ piece: ResponsePiece) {
        guard var request = pending[piece.index] else { return expect(false, "request \(piece.index) goes on after its end") }
        request.tokens += piece.tokenIDs
        request.text += piece.text
        pending[piece.index] = request
        guard let response = piece.response else { return }
        pending[piece.index] = nil
        counts.tokens += response.tokenIDs.count
        judge(request, response)
        if response.finishReason == .length || response.finishReason == .stop, request.request.generation.temperature == 0 {
            // Token 0 stands for pictures.
            let said = response.tokenIDs.prefix { $0 != 0 }
            conversations.append(Conversation(tokens: request.request.tokenIDs + said, images: request.request.images))
            if conversations.count > 12 { conversations.removeFirst() }
        }
    }

    private func judge(_ request: Pending, _ response: Response) {
        let name = "request \(request.id)"
        expect(response.tokenIDs == request.tokens, "\(name) was told other tokens than it got at the end")
        expect(response.text == request.text, "\(name) was told another text than it got at the end")
        expect(
            response.text == LetterTokenizer().decode(response.tokenIDs, skipSpecialTokens: true),
            "\(name) has another text than its tokens")
        let expected = expectedTokens(request, response)
        switch response.finishReason {
        case .length, .stop:
            counts.finished += 1
            expect(!request.hasBadPicture, "\(name) has a picture that cannot be encoded, and an answer")
            expect(response.tokenIDs == expected, "\(name) answered \(response.tokenIDs) and alone \(expected)")
            checkOutputs(request, response)
        case .abort:
            let kind = (response.error as? EngineError)?.kind
            if request.wasCancelled { counts.cancelled += 1 } else { counts.overdue += 1 }
            expect(
                kind == (request.wasCancelled ? .cancelled : .deadlineExceeded)
                    && (request.wasCancelled || request.request.deadline != nil),
                "\(name) was aborted: \(String(describing: response.error))")
            expect(expected.starts(with: response.tokenIDs), "\(name) answered \(response.tokenIDs) and alone \(expected)")
        default:
            counts.failed += 1
            let isBad = request.hasBadPicture && response.error is ModelError
            expect(
                isBad || (failingSteps > 0 && response.error is TensorError),
                "\(name) failed: \(String(describing: response.error))")
            expect(expected.starts(with: response.tokenIDs), "\(name) answered \(response.tokenIDs) and alone \(expected)")
        }
    }

    /// What the request answers alone: by the model's rule where it is plain, by an engine without caches where it is not.
    private func expectedTokens(_ request: Pending, _ response: Response) -> [Int32] {
        let generation = request.request.generation
        let count = min(generation.maxNewTokens ?? 0, 64 - request.seen.count)
        let isPlain = generation.temperature == 0 && generation.repetitionPenalty == 1 && generation.frequencyPenalty == 0
        if isPlain, generation.minNewTokens == 0 {
            let tokens = EchoHash.answer(to: request.seen, count: count)
            return generation.ignoreEOS ? tokens : Array(tokens.prefix { $0 != Self.stopToken })
        }
        guard !request.hasBadPicture else { return [] }
        var lonely = request.request
        lonely.deadline = nil
        var tokens: [Int32]?
        do {
            try alone.submit(lonely) { if let response = $0.response { tokens = response.tokenIDs } }
        } catch {
            expect(false, "alone, a request was refused: \(error)")
        }
        for _ in 0..<200 where tokens == nil { alone.step() }
        return tokens ?? [-1]
    }

    /// Rows for every position, each once, whatever was computed twice or not at all.
    private func checkOutputs(_ request: Pending, _ response: Response) {
        let generation = request.request.generation
        let generated = response.tokenIDs.count
        if generation.outputLogits == .all {
            expect(
                response.logits?.rows == request.seen.count + max(0, generated - 1),
                "\(response.logits?.rows ?? -1) rows of logits")
        }
        if generation.outputLastHiddenState == .generation {
            expect((response.lastHiddenState?.rows ?? 0) == generated, "\(response.lastHiddenState?.rows ?? -1) rows of states")
        }
        if generation.promptLogprobs != nil {
            expect(
                response.promptLogprobs?.count == request.seen.count - 1,
                "\(response.promptLogprobs?.count ?? -1) prompt logprobs")
        }
        if generation.logprobs != nil {
            expect(response.logprobs?.count == generated, "\(response.logprobs?.count ?? -1) logprobs")
        }
    }

    private func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition, wrong == nil { wrong = text() }
    }
}
