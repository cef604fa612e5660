import Engine
import Models
import Testing

/// Prompts whose tokens see later ones: computed in one pass, told how far they see.
struct SpanTests {
    typealias Timing = SteppedEngine.Timing

    private func ask(_ before: Int, _ pixels: ClosedRange<Int>, _ after: [Int32], new: Int = 5) -> EngineRequest {
        let image = ProcessedImage(pixels: pixels.map { Float($0) }, dimensions: [pixels.count], tokenCount: pixels.count)
        return EngineRequest(
            tokenIDs: SteppedEngine.prompt(before, seed: 1) + [Int32](repeating: 0, count: pixels.count) + after, images: [image],
            generation: GenerationConfig(maxNewTokens: new))
    }

    private func answer(_ request: EngineRequest) -> [Int32] {
        var rows = request.images.flatMap(\.pixels)[...]
        return EchoHash.answer(
            to: request.tokenIDs.map { $0 == 0 ? rows.removeFirst() : Float($0) }, count: request.generation.maxNewTokens ?? 0)
    }

    /// However small the chunks, a picture's tokens are in one pass and see up to its end.
    @Test(arguments: [12, 13, 20, 64], Timing.allCases) func picturesAreNotCut(chunk: Int, timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 4, chunk: chunk, spanRule: .images)
        let request = ask(5, 101...109, [7, 8, 9])
        #expect(try engine.answer(request).tokenIDs == answer(request))
        let seen = engine.language.ends.filter { !$0.isEmpty }
        #expect(seen.count == 1 && seen.first?.filter { $0 == 14 }.count == 9, "\(engine.language.ends)")
    }

    /// A picture goes with the others' tokens, which see as far as ever, also where it is more than the share of a prompt beside them.
    @Test(arguments: Timing.allCases) func picturesBesideDecodes(timing: Timing) throws {
        let engine = try SteppedEngine(timing, chunk: 32, besideDecodes: 4, spanRule: .images)
        let first = SteppedEngine.request(6, seed: 3, new: 30)
        try engine.submit(first)
        engine.step(3)
        let second = ask(3, 101...110, [7], new: 4)
        try engine.submit(second)
        try engine.drain()
        #expect(engine.tokens[0] == SteppedEngine.answer(first))
        #expect(engine.tokens[1] == answer(second))
        let seen = try #require(engine.language.ends.first { !$0.isEmpty })
        #expect(seen.count == 11 && Array(seen.dropFirst()) == [Int32](repeating: 13, count: 10))
    }

    @Test(arguments: Timing.allCases) func picturesAreFoundInTheCache(timing: Timing) throws {
        let engine = try SteppedEngine(timing, spanRule: .images)
        let first = ask(3, 101...110, [7, 8, 9])
        #expect(try engine.answer(first).tokenIDs == answer(first))
        let second = ask(3, 101...110, [11])
        let response = try engine.answer(second)
        #expect(response.tokenIDs == answer(second))
        // Blocks hold four tokens; the thirteenth, which ends the picture, sees no later one.
        #expect(response.cachedTokenCount == 12 && engine.language.ends.filter { !$0.isEmpty }.count == 1)
    }

    /// A prompt that is one span is computed at once, and serves no other.
    @Test(arguments: Timing.allCases) func wholePrompts(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 4, chunk: 20, spanRule: .prompt)
        for _ in 0..<2 {
            let request = SteppedEngine.request(17, seed: 2)
            let response = try engine.answer(request)
            #expect(response.tokenIDs == SteppedEngine.answer(request) && response.cachedTokenCount == 0)
        }
        #expect(engine.language.ends.filter { !$0.isEmpty } == Array(repeating: Array(repeating: 17, count: 17), count: 2))
        let refusal = engine.refusal(SteppedEngine.request(18, seed: 2))
        #expect(refusal?.kind == .contextLengthExceeded)
        #expect(refusal?.description.contains("18 tokens") == true && refusal?.description.contains("21") == true)
    }

    /// Equal beginnings of such prompts are not the same, so those that run together share no blocks either.
    @Test(arguments: Timing.allCases) func wholePromptsShareNothing(timing: Timing) throws {
        let engine = try SteppedEngine(timing, spanRule: .prompt)
        for last in [5, 6] as [Int32] {
            try engine.submit(
                EngineRequest(
                    tokenIDs: SteppedEngine.prompt(10, seed: 4) + [last], generation: GenerationConfig(maxNewTokens: 8)))
        }
        engine.step(3)
        #expect(engine.core.statistics.usedBlocks == 8)
        #expect(engine.core.checkInvariants().isEmpty)
        try engine.drain()
        #expect(engine.core.statistics.cachedBlocks == 0)
    }

    /// Who is preempted computes its prompt again in one pass.
    @Test(arguments: Timing.allCases) func preemptedPrompts(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 12, chunk: 32, sessionLen: 40, spanRule: .prompt)
        let requests = (0..<3).map { SteppedEngine.request(12, seed: $0, new: 20) }
        for request in requests { try engine.submit(request) }
        try engine.drain()
        #expect(engine.core.statistics.preemptions > 0)
        for (index, request) in requests.enumerated() { #expect(engine.tokens[index] == SteppedEngine.answer(request)) }
        for ends in engine.language.ends where !ends.isEmpty { #expect(ends.filter { $0 == 12 }.count % 12 == 0) }
    }
}
