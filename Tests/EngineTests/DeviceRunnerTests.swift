import Engine
import Guidance
import Layers
import Models
import Tensors
import TestKit
import Testing

/// What is particular to a backend that runs behind its host.
struct DeviceRunnerTests {
    private let language = EchoModel()

    private func core(_ backend: any Backend, batch: Int = 4, blocks: Double = 64) throws -> EngineCore {
        let model = LoadedModel(
            family: "Echo", language: language, vision: nil, imageProcessor: nil, promptRule: nil, eosTokenIDs: [])
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        let config = EngineConfig(
            sessionLen: 128, maxBatchSize: batch, cacheMaxEntryCount: blocks, cacheBlockSeqLen: 4, maxPrefillTokenNum: 16)
        let plan = try MemoryPlan(model: model, planner: planner, config: config, vision: VisionConfig(), freeBytes: 1 << 30)
        return try EngineCore(
            model: model, plan: plan, backend: backend, tokenizer: LetterTokenizer(), stopTokens: [], vision: VisionConfig())
    }

    private func responses(_ core: EngineCore, _ requests: [EngineRequest]) throws -> [Int: Response] {
        var responses: [Int: Response] = [:]
        for (index, request) in requests.enumerated() {
            var request = request
            request.index = index
            try core.submit(request) { if let response = $0.response { responses[response.index] = response } }
        }
        for _ in 0..<10_000 where core.hasWork { core.step() }
        try #require(!core.hasWork, "the engine does not come to an end")
        return responses
    }

    private func requests(_ configs: [GenerationConfig]) -> [EngineRequest] {
        configs.enumerated().map { index, config in
            EngineRequest(tokenIDs: (0..<5 + index).map { Int32(($0 * 7 + index) % 96 + 1) }, generation: config)
        }
    }

    private var variety: [GenerationConfig] {
        var penalised = GenerationConfig(maxNewTokens: 12)
        penalised.repetitionPenalty = 1.8
        var both = GenerationConfig(maxNewTokens: 9, temperature: 1.3, topK: 0, randomSeed: 5)
        both.repetitionPenalty = 1.4
        return [
            GenerationConfig(maxNewTokens: 6), GenerationConfig(maxNewTokens: 11, temperature: 2, topK: 20, randomSeed: 1),
            penalised,
            GenerationConfig(maxNewTokens: 7, temperature: 0.9, topP: 0.7, topK: 0, minP: 0.05, randomSeed: 2), both,
        ]
    }

    @Test func choosingOnTheDeviceAnswersAsTheHostDoes() throws {
        let expected = try responses(try core(ReferenceBackend()), requests(variety))
        let late = LateBackend()
        let answers = try responses(try core(late), requests(variety))
        for index in variety.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs, "request \(index)") }
        #expect(late.replayCount > 0)
    }

    /// Everything that the host takes part in, beside requests that stay on the device.
    @Test func requestsThatNeedTheHostMixWithOthers() throws {
        var masked = GenerationConfig(maxNewTokens: 10, temperature: 1.1, topK: 0, randomSeed: 8, badWords: ["abc", "q"])
        masked.presencePenalty = 1
        var processed = GenerationConfig(maxNewTokens: 8)
        processed.logitsProcessors = [LogitsProcessor { logits, tokens in logits[tokens[tokens.count - 1]] -= 9 }]
        let ofHost = [
            GenerationConfig(maxNewTokens: 4, logprobs: 2), masked, GenerationConfig(maxNewTokens: 6, minNewTokens: 3),
            GenerationConfig(maxNewTokens: 3, outputLogits: .all, outputLastHiddenState: .generation), processed,
            GenerationConfig(maxNewTokens: 0, promptLogprobs: 1), GenerationConfig(maxNewTokens: 9, frequencyPenalty: 3),
        ]
        let configs = variety + ofHost + variety + ofHost.reversed()
        let expected = try responses(try core(ReferenceBackend(), batch: 5), requests(configs))
        let answers = try responses(try core(LateBackend(), batch: 5), requests(configs))
        for index in configs.indices {
            #expect(answers[index]?.error == nil && answers[index]?.tokenIDs == expected[index]?.tokenIDs, "request \(index)")
            #expect(answers[index]?.logprobs == expected[index]?.logprobs)
            #expect(answers[index]?.logits == expected[index]?.logits)
            #expect(answers[index]?.lastHiddenState == expected[index]?.lastHiddenState)
            #expect(answers[index]?.promptLogprobs == expected[index]?.promptLogprobs)
        }
    }

    @Test func onlyRowsThatTheHostMustSeeAreDownloaded() throws {
        let late = LateBackend()
        let plain = GenerationConfig(maxNewTokens: 10)
        let configs = [
            plain, GenerationConfig(maxNewTokens: 6, logprobs: 1), plain, GenerationConfig(maxNewTokens: 8, badTokenIDs: [2]),
        ]
        _ = try responses(try core(late), requests(configs))
        #expect(late.downloads == [Int](repeating: 97, count: 6))
        #expect(late.replayCount >= 8, "choices that follow their pass leave its recording in use")
    }

    // MARK: Guides

    /// Allows tokens that are 1 to 9 above the newest one (modulo 90, so never 90 and up), and the stop token 96 after `length` tokens.
    private struct Climb: TokenGuide {
        var length = Int.max
        var stop: Int32 = 96
        /// Whether the guide says that nothing may come any more.
        var endsItself = false
        func makeMatcher(stopTokens: Set<Int32>) -> any TokenMatcher { Matcher(guide: self) }

        struct Matcher: TokenMatcher {
            let guide: Climb
            var newest: Int32 = 0
            var count = 0
            var mayEnd: Bool { count >= guide.length }
            var mustEnd: Bool { mayEnd && guide.endsItself }
            func allows(_ token: Int32) -> Bool {
                mayEnd ? token == guide.stop : (1...9).contains((token - newest + 90) % 90) && token < 90
            }
            mutating func fillMask(_ mask: UnsafeMutableBufferPointer<UInt32>) {
                mask.update(repeating: 0)
                for token in 0..<Int32(97) where allows(token) { mask[Int(token >> 5)] |= 1 << UInt32(token & 31) }
            }
            mutating func accept(_ token: Int32) -> Bool {
                guard allows(token) else { return false }
                newest = token
                count += 1
                return true
            }
        }
    }

    private func climbs(_ tokens: [Int32]) -> Bool {
        zip([0] + tokens, tokens).allSatisfy { (1...9).contains(($1 - $0 + 90) % 90) }
    }

    @Test(arguments: [false, true]) func aGuideIsFollowedBesideFreeRequests(late: Bool) throws {
        var guided = GenerationConfig(maxNewTokens: 20)
        guided.logprobs = 1
        let configs = [
            GenerationConfig(maxNewTokens: 12), GenerationConfig(maxNewTokens: 25),
            GenerationConfig(maxNewTokens: 25, temperature: 3, topK: 0, randomSeed: 3), guided,
            GenerationConfig(maxNewTokens: 25, repetitionPenalty: 1.5, presencePenalty: 1),
        ]
        var requests = requests(configs)
        for index in 1..<5 { requests[index].guide = Climb() }
        let answers = try responses(try core(late ? LateBackend() : ReferenceBackend(), batch: 8), requests)
        let expected = try responses(try core(ReferenceBackend(), batch: 1), requests)
        for index in configs.indices {
            #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs)
            #expect(answers[index]?.tokenIDs.count == configs[index].maxNewTokens)
            #expect(try climbs(#require(answers[index]).tokenIDs) == (index > 0))
        }
    }

    @Test(arguments: [false, true], [false, true]) func aGuidedResponseEndsWhereItsRuleDoes(late: Bool, hasStop: Bool) throws {
        for endsItself in [false, true] {
            try checkEnd(late: late, hasStop: hasStop, endsItself: endsItself)
        }
    }

    private func checkEnd(late: Bool, hasStop: Bool, endsItself: Bool) throws {
        var requests = requests([GenerationConfig(maxNewTokens: 30, stopTokenIDs: hasStop ? [96] : [])])
        // Without a stop token nothing is left to choose, and the response is complete.
        requests[0].guide = Climb(length: 7, stop: hasStop ? 96 : 200, endsItself: endsItself)
        let response = try #require(try responses(try core(late ? LateBackend() : ReferenceBackend()), requests)[0])
        #expect(response.tokenIDs.count == 7 && climbs(response.tokenIDs))
        #expect(response.finishReason == .stop && response.error == nil)
        // A minimum that the rule cannot reach gives way.
        requests[0].generation.minNewTokens = 20
        let short = try #require(try responses(try core(late ? LateBackend() : ReferenceBackend()), requests)[0])
        #expect(short.tokenIDs == response.tokenIDs && short.finishReason == .stop)
    }

    /// A compiled expression as the guide, over the letters of the tokenizer.
    @Test(arguments: [false, true]) func anExpressionIsFollowedToItsEnd(late: Bool) throws {
        let letters = LetterTokenizer()
        // Token 96 ends a text, token 0 is special.
        let bytes = (0..<Int32(97)).map { $0 == 0 || $0 == 96 ? nil : letters.token($0).map { Array($0.utf8) } }
        let compiler = GuidanceCompiler(GuidanceVocabulary(tokenBytes: bytes, stopTokens: [96]))
        let free = try compiler.compile(.regex("(ab|cde){3}f*"))
        let closed = try compiler.compile(.regex("(ab|cde){3}f"))
        let options = GenerationConfig(maxNewTokens: 40, temperature: 1.5, topK: 0, stopTokenIDs: [96])
        var requests = requests(
            (0..<6).map { seed in
                var options = options
                options.randomSeed = UInt64(seed)
                return options
            })
        for index in requests.indices { requests[index].guide = index % 2 == 0 ? free : closed }
        let answers = try responses(try core(late ? LateBackend() : ReferenceBackend()), requests)
        for index in requests.indices {
            let response = try #require(answers[index])
            #expect(response.text.wholeMatch(of: index % 2 == 0 ? /(ab|cde){3}f*/ : /(ab|cde){3}f/) != nil, "\(response.text)")
            #expect(response.finishReason == .stop && !response.tokenIDs.contains(96))
        }
        #expect(Set(answers.values.map(\.text)).count > 1)
    }

    @Test func aGuideAndNoEndContradictEachOther() throws {
        var request = requests([GenerationConfig(ignoreEOS: true)])[0]
        request.guide = Climb()
        #expect(throws: EngineError.self) { try core(ReferenceBackend()).submit(request) { _ in } }
    }

    @Test func aStepIsRecordedOnceForEachSize() throws {
        let late = LateBackend()
        let core = try core(late, batch: 6)
        _ = try responses(core, requests([GenerationConfig](repeating: GenerationConfig(maxNewTokens: 40), count: 6)))
        let recorded = late.recordedCount
        #expect(recorded >= 1 && recorded <= 6)
        _ = try responses(core, requests([GenerationConfig](repeating: GenerationConfig(maxNewTokens: 40), count: 6)))
        #expect(late.recordedCount == recorded)
        #expect(late.replayCount > 60)
    }

    @Test func passesThatCannotBeRecordedRunAsTheyAre() throws {
        language.canBeRecorded = false
        let late = LateBackend()
        let answers = try responses(try core(late), requests(variety))
        let expected = try responses(try core(ReferenceBackend()), requests(variety))
        #expect(late.recordedCount == 0)
        for index in variety.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs) }
    }

    @Test func warmingUpChangesNothing() throws {
        let core = try core(LateBackend())
        try core.warmUp()
        let expected = try responses(try self.core(ReferenceBackend()), requests(variety))
        let answers = try responses(core, requests(variety))
        for index in variety.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs) }
        #expect(core.freeBlocks == 64)
    }

    @Test(arguments: 1...300) func recordedSizesHoldTheirBatch(count: Int) {
        let size = DeviceRunner.recordedSize(count, limit: 256)
        #expect(size >= count)
        #expect(size <= max(256, count))
        #expect(Double(size) <= Double(count) * 1.5 + 3)
    }

    @Test func paddingAddsSequencesThatWriteNothing() {
        var batch = ForwardBatch()
        batch.tokenIDs = [7, -2]
        batch.positions = [[4, 9]]
        batch.slots = [12, 33]
        batch.queryStarts = [0, 1, 2]
        batch.contextLengths = [5, 10]
        batch.maxBlocks = 2
        batch.blockTables = [3, 0, 8, 1]
        batch.outputRows = [0, 1]
        let layout = PassInputs.Layout(tokens: 4, axes: 1, sequences: 4, maxBlocks: 3, outputs: 4)
        batch.pad(to: layout)
        #expect(batch.layout() == layout)
        #expect(batch.tokenIDs == [7, -2, 0, 0] && batch.positions == [[4, 9, 0, 0]])
        #expect(batch.slots == [12, 33, -1, -1] && batch.contextLengths == [5, 10, 0, 0])
        #expect(batch.queryStarts == [0, 1, 2, 3, 4] && batch.outputRows == [0, 1, 2, 3])
        #expect(batch.blockTables == [3, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0])
        var words: [Int32] = []
        batch.pack(into: &words)
        #expect(words.count == layout.wordCount)
    }
}
