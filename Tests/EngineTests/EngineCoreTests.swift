import Engine
import Foundation
import Layers
import Models
import Tensors
import TestKit
import Testing
import Text

struct EngineCoreTests {
    let language = EchoModel()
    let encoder = EchoEncoder()

    /// When a backend computes: at the call, or when somebody waits.
    enum Timing: CaseIterable { case immediate, late }

    private func core(
        _ timing: Timing = .immediate, blocks: Double = 64, blockSize: Int = 4, batch: Int = 4, chunk: Int = 64,
        sessionLen: Int = 128, stop: Set<Int32> = [],
        images: Int = 8, isTextOnly: Bool = false, freeBytes: Int = 1 << 30
    ) throws -> EngineCore {
        let rule = PromptRule(imagePlaceholder: "<image>", imageToken: "<image>", configuredImageTokenID: 0) { _ in "" }
        let model = LoadedModel(
            family: "Echo", language: language, vision: isTextOnly ? nil : encoder, imageProcessor: EchoImageProcessor(),
            promptRule: isTextOnly ? nil : rule, eosTokenIDs: [])
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        let config = EngineConfig(
            sessionLen: sessionLen, maxBatchSize: batch, cacheMaxEntryCount: blocks, cacheBlockSeqLen: blockSize,
            maxPrefillTokenNum: chunk)
        let plan = try MemoryPlan(
            model: model, planner: planner, config: config, vision: VisionConfig(maxBatchSize: images), freeBytes: freeBytes)
        language.passes = []
        return try EngineCore(
            model: model, plan: plan, backend: timing == .late ? LateBackend() : ReferenceBackend(), tokenizer: LetterTokenizer(),
            stopTokens: stop,
            vision: VisionConfig(maxBatchSize: images))
    }

    /// Collects the pieces of requests by their index.
    private final class Collector {
        var pieces: [Int: [ResponsePiece]] = [:]
        func response(_ index: Int) -> Response? { pieces[index]?.last?.response }
    }

    private func run(_ core: EngineCore, _ requests: [EngineRequest]) throws -> Collector {
        let collector = Collector()
        for (index, request) in requests.enumerated() {
            var request = request
            request.index = index
            try core.submit(request) { collector.pieces[index, default: []].append($0) }
        }
        var steps = 0
        while core.hasWork {
            core.step()
            steps += 1
            try #require(steps < 10_000, "the engine does not come to an end")
        }
        return collector
    }

    private func prompt(_ count: Int, seed: Int) -> [Int32] { (0..<count).map { Int32(($0 * 31 + seed * 17) % 96 + 1) } }

    private func request(_ tokens: [Int32], new: Int = 8) -> EngineRequest {
        EngineRequest(tokenIDs: tokens, generation: GenerationConfig(maxNewTokens: new))
    }

    @Test(arguments: [1, 3, 4, 5, 7, 64], Timing.allCases) func chunksOfAnySizeGiveTheSameAnswer(chunk: Int, timing: Timing)
        throws
    {
        let tokens = prompt(21, seed: 1)
        let core = try core(timing, batch: 1, chunk: chunk)
        let response = try #require(try run(core, [request(tokens)]).response(0))
        #expect(response.tokenIDs == EchoHash.answer(to: tokens.map { Float($0) }, count: 8))
        #expect(response.finishReason == .length)
        #expect(response.inputTokenCount == 21)
        #expect((language.passes.max() ?? 0) <= max(chunk, 1))
        #expect(core.freeBlocks == 64)
    }

    @Test(arguments: Timing.allCases) func promptsTogetherGiveWhatTheyGiveAlone(timing: Timing) throws {
        let prompts = (0..<9).map { prompt(3 + $0 * 5 % 23, seed: $0) }
        let core = try core(timing, batch: 4, chunk: 10)
        let collector = try run(core, prompts.enumerated().map { request($1, new: 3 + $0) })
        for (index, tokens) in prompts.enumerated() {
            let response = try #require(collector.response(index))
            #expect(response.tokenIDs == EchoHash.answer(to: tokens.map { Float($0) }, count: 3 + index))
            #expect(response.index == index)
        }
        #expect(core.freeBlocks == 64)
    }

    @Test(arguments: Timing.allCases) func requestsWaitForBlocks(timing: Timing) throws {
        // Each needs 3 of 4 blocks, so they run one after another though the batch has room for four.
        let prompts = (0..<5).map { prompt(6, seed: $0) }
        let core = try core(timing, blocks: 4, sessionLen: 16)
        let collector = try run(core, prompts.map { request($0, new: 6) })
        for (index, tokens) in prompts.enumerated() {
            #expect(collector.response(index)?.tokenIDs == EchoHash.answer(to: tokens.map { Float($0) }, count: 6))
        }
        #expect(core.freeBlocks == 4)
    }

    @Test(arguments: Timing.allCases) func imagesReplaceTheirTokensAcrossChunks(timing: Timing) throws {
        let images = [[101, 102, 103, 104, 105], [201, 202]].map { values in
            ProcessedImage(pixels: values.map { Float($0) }, dimensions: [values.count], tokenCount: values.count)
        }
        // The first image's run is broken in two by an ordinary token, as row separators do.
        let tokens: [Int32] = [5, 0, 0, 6, 0, 0, 0, 7, 0, 0, 8]
        let seen: [Float] = [5, 101, 102, 6, 103, 104, 105, 7, 201, 202, 8]
        for chunk in [1, 2, 3, 5, 64] {
            let core = try core(timing, batch: 1, chunk: chunk)
            let collector = try run(
                core, [EngineRequest(tokenIDs: tokens, images: images, generation: GenerationConfig(maxNewTokens: 6))])
            #expect(collector.response(0)?.tokenIDs == EchoHash.answer(to: seen, count: 6))
        }
    }

    @Test(arguments: [1, 2, 3, 8], Timing.allCases) func theEncoderNeverTakesMoreThanItsBatch(limit: Int, timing: Timing) throws {
        let image = ProcessedImage(pixels: [9], dimensions: [1], tokenCount: 1)
        let core = try core(timing, images: limit)
        let requests = (0..<3).map {
            EngineRequest(
                tokenIDs: [0, Int32($0) + 1, 0], images: [image, image], generation: GenerationConfig(maxNewTokens: 2))
        }
        let collector = try run(core, requests)
        for index in 0..<3 {
            #expect(collector.response(index)?.tokenIDs == EchoHash.answer(to: [9, Float(index + 1), 9], count: 2))
        }
        #expect(encoder.passes.allSatisfy { $0 <= limit })
        #expect(encoder.passes.reduce(0, +) == 6)
        #expect(encoder.passes.count == (6 + limit - 1) / limit)
    }

    @Test(arguments: Timing.allCases) func theEncoderNeverTakesMoreWorkspaceThanPlanned(timing: Timing) throws {
        encoder.bytesPerRow = 64 << 10
        // A quarter of 1 MB holds four rows, though eight images could go together.
        let core = try core(timing, freeBytes: 1 << 20)
        #expect(core.plan.visionBytes == 256 << 10)
        let image = ProcessedImage(pixels: [9], dimensions: [1], tokenCount: 1)
        let large = ProcessedImage(pixels: [1, 2, 3, 4, 5], dimensions: [5], tokenCount: 5)
        let generation = GenerationConfig(maxNewTokens: 2)
        let collector = try run(
            core,
            [
                EngineRequest(tokenIDs: [0, 4, 0, 0], images: [image, image, image], generation: generation),
                EngineRequest(tokenIDs: [0, 5, 0, 0], images: [image, image, image], generation: generation),
            ])
        #expect(collector.response(0)?.tokenIDs == EchoHash.answer(to: [9, 4, 9, 9], count: 2))
        #expect(collector.response(1)?.tokenIDs == EchoHash.answer(to: [9, 5, 9, 9], count: 2))
        #expect(encoder.passes.allSatisfy { $0 <= 4 })
        // What can never be encoded is refused before anything waits for it.
        let refused = refusal(core, EngineRequest(tokenIDs: [0, 0, 0, 0, 0, 6], images: [large], generation: generation))
        #expect(refused?.kind == .outOfMemory)
        #expect(refused?.detail.contains("327.7 kB") == true && refused?.detail.contains("262.1 kB") == true)
    }

    @Test(arguments: Timing.allCases) func thePlanCountsTheLargestImages(timing: Timing) throws {
        encoder.bytesPerRow = 1000 * Workspace.alignment
        for images in [1, 3] {
            #expect(try core(timing, images: images).plan.visionBytes == images * 8 * encoder.bytesPerRow)
        }
    }

    @Test(arguments: [1, 2, 8], Timing.allCases) func aBadImageFailsItsRequestAlone(batch: Int, timing: Timing) throws {
        let good = ProcessedImage(pixels: [9], dimensions: [1], tokenCount: 1)
        let bad = ProcessedImage(pixels: [-1], dimensions: [1], tokenCount: 1)
        let core = try core(timing, images: batch)
        let collector = try run(
            core,
            [good, bad, good].map {
                EngineRequest(tokenIDs: [0, 4], images: [$0], generation: GenerationConfig(maxNewTokens: 2))
            })
        #expect(collector.response(1)?.finishReason == .error)
        #expect(collector.response(1)?.error is ModelError)
        for index in [0, 2] { #expect(collector.response(index)?.tokenIDs == EchoHash.answer(to: [9, 4], count: 2)) }
        #expect(core.freeBlocks == 64)
    }

    @Test(arguments: Timing.allCases) func aFailedPassEndsItsRequestsAndTheEngineGoesOn(timing: Timing) throws {
        let core = try core(timing)
        language.failingPass = 1
        let collector = try run(core, [request(prompt(4, seed: 1))])
        #expect(collector.response(0)?.finishReason == .error)
        #expect(core.freeBlocks == 64)
        let tokens = prompt(4, seed: 2)
        #expect(try run(core, [request(tokens)]).response(0)?.tokenIDs == EchoHash.answer(to: tokens.map { Float($0) }, count: 8))
    }

    @Test(arguments: Timing.allCases) func stopTokensEndTheAnswerAndAreNotPartOfIt(timing: Timing) throws {
        let tokens = prompt(9, seed: 3)
        let answer = EchoHash.answer(to: tokens.map { Float($0) }, count: 12)
        let stop = answer[5]
        let expected = Array(answer.prefix { $0 != stop })
        let response = try #require(try run(try core(timing, stop: [stop]), [request(tokens, new: 12)]).response(0))
        #expect(response.tokenIDs == expected)
        #expect(response.finishReason == .stop)

        var ignoring = request(tokens, new: 12)
        ignoring.generation.ignoreEOS = true
        #expect(try run(try core(timing, stop: [stop]), [ignoring]).response(0)?.tokenIDs == answer)
    }

    @Test(arguments: Timing.allCases) func noStopTokenBeforeTheMinimum(timing: Timing) throws {
        let tokens = prompt(9, seed: 3)
        let answer = EchoHash.answer(to: tokens.map { Float($0) }, count: 1)
        var late = request(tokens, new: 12)
        late.generation.minNewTokens = 4
        let response = try #require(try run(try core(timing, stop: [answer[0]]), [late]).response(0))
        #expect(response.tokenIDs.count >= 4)
        #expect(!response.tokenIDs.prefix(4).contains(answer[0]))
    }

    @Test(arguments: Timing.allCases) func stopWordsEndTheText(timing: Timing) throws {
        let tokens = prompt(9, seed: 3)
        let answer = EchoHash.answer(to: tokens.map { Float($0) }, count: 12)
        let text = LetterTokenizer().decode(answer, skipSpecialTokens: true)
        let word = String(text.dropFirst(4).prefix(3))
        var stopping = request(tokens, new: 12)
        stopping.generation.stopWords = [word]
        let collector = try run(try core(timing), [stopping])
        let response = try #require(collector.response(0))
        let shown = text.range(of: word).map { String(text[..<$0.lowerBound]) }
        #expect(response.text == shown)
        #expect(response.finishReason == .stop)
        #expect(collector.pieces[0]?.map(\.text).joined() == response.text)
    }

    @Test(arguments: Timing.allCases) func streamedPiecesAddUpToTheResponse(timing: Timing) throws {
        let collector = try run(try core(timing), [request(prompt(5, seed: 8), new: 10)])
        let pieces = try #require(collector.pieces[0])
        let response = try #require(pieces.last?.response)
        #expect(pieces.dropLast().allSatisfy { $0.response == nil })
        #expect(pieces.flatMap(\.tokenIDs) == response.tokenIDs)
        #expect(pieces.map(\.text).joined() == response.text)
        #expect(response.text == LetterTokenizer().decode(response.tokenIDs, skipSpecialTokens: true))
    }

    @Test(arguments: [1, 3, 64], Timing.allCases) func logitsOfAllPositionsAndOfGeneratedOnes(chunk: Int, timing: Timing) throws {
        let tokens = prompt(7, seed: 5)
        var all = request(tokens, new: 4)
        all.generation.outputLogits = .all
        all.generation.outputLastHiddenState = .all
        var generated = request(tokens, new: 4)
        generated.generation.outputLogits = .generation
        generated.generation.outputLastHiddenState = .generation
        var scored = request(tokens, new: 0)
        scored.generation.outputLogits = .all
        let collector = try run(try core(timing, batch: 3, chunk: chunk), [all, generated, scored])
        let values = tokens.map { Float($0) }
        let answer = EchoHash.answer(to: values, count: 4)

        let response = try #require(collector.response(0))
        let logits = try #require(response.logits)
        let states = try #require(response.lastHiddenState)
        #expect(logits.rows == 7 + 3 && logits.columns == 97 && logits.values.count == logits.rows * 97)
        #expect(states.rows == 7 + 3 && states.columns == 1)
        for row in 0..<7 {
            let next = EchoHash.answer(to: Array(values[...row]), count: 1)[0]
            #expect(logits.values[row * 97 + Int(next)] == 4)
            #expect(states.values[row] == Float(next))
        }
        let short = try #require(collector.response(1)?.logits)
        #expect(short.rows == 4)
        #expect(collector.response(1)?.lastHiddenState?.values == answer.map { Float($0) })
        #expect(Array(logits.values.suffix(4 * 97)) == short.values)
        #expect(collector.response(2)?.logits?.rows == 7)
        #expect(collector.response(2)?.tokenIDs.isEmpty == true)
    }

    @Test(arguments: Timing.allCases) func cancellingFreesBlocksAtOnce(timing: Timing) throws {
        let core = try core(timing)
        let collector = Collector()
        let id = try core.submit(request(prompt(6, seed: 1), new: 50)) { collector.pieces[0, default: []].append($0) }
        core.step()
        core.step()
        #expect(core.freeBlocks < 64)
        core.cancel(id)
        #expect(core.freeBlocks == 64)
        #expect(collector.response(0)?.finishReason == .abort)
        #expect(!core.hasWork)
    }

    // MARK: Refusals

    private func refusal(_ core: EngineCore, _ request: EngineRequest) -> EngineError? {
        do {
            try core.submit(request) { _ in }
            return nil
        } catch {
            return error as? EngineError
        }
    }

    @Test func whatCanNeverRunIsRefusedWithItsNumbers() throws {
        let core = try core(sessionLen: 32)
        #expect(refusal(core, request([]))?.kind == .invalidRequest)
        #expect(refusal(core, request([500]))?.detail.contains("500") == true)
        let long = refusal(core, request(prompt(33, seed: 1)))
        #expect(long?.kind == .contextLengthExceeded)
        #expect(long?.detail.contains("33") == true && long?.detail.contains("32") == true)
        let image = ProcessedImage(pixels: [1, 2], dimensions: [2], tokenCount: 2)
        #expect(refusal(core, EngineRequest(tokenIDs: [0, 5], images: [image]))?.kind == .invalidRequest)
        #expect(refusal(core, EngineRequest(tokenIDs: [0, 0, 0], images: [image]))?.detail.contains("3 image tokens") == true)
        #expect(!core.hasWork)
        #expect(
            refusal(try self.core(isTextOnly: true), EngineRequest(tokenIDs: [0, 0], images: [image]))?.kind
                == .unsupportedFeature)
    }

    @Test func answersEndWithTheSession() throws {
        let response = try #require(try run(try core(sessionLen: 12), [request(prompt(9, seed: 2), new: 500)]).response(0))
        #expect(response.finishReason == .length)
        #expect(response.tokenIDs.count == 3)
    }

    @Test(arguments: [
        GenerationConfig(maxNewTokens: -1), GenerationConfig(temperature: -1), GenerationConfig(temperature: .nan),
        GenerationConfig(topP: 0), GenerationConfig(topP: 1.5), GenerationConfig(topK: -1), GenerationConfig(minP: 2),
        GenerationConfig(repetitionPenalty: 0), GenerationConfig(stopWords: [""]), GenerationConfig(logprobs: 5000),
        GenerationConfig(maxNewTokens: 3, minNewTokens: 4),
    ]) func badOptionsAreRefused(config: GenerationConfig) throws {
        let error = refusal(try core(), EngineRequest(tokenIDs: [3], generation: config))
        #expect(error?.kind == .invalidRequest)
    }
}
