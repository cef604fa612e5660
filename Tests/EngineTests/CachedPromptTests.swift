import Engine
import Models
import Tensors
import Testing

/// What prompts find in the engine's two caches, and that they never find somebody else's.
struct CachedPromptTests {
    typealias Timing = SteppedEngine.Timing

    private func picture(_ pixels: [Int]) -> ProcessedImage {
        ProcessedImage(pixels: pixels.map { Float($0) }, dimensions: [pixels.count], tokenCount: pixels.count)
    }

    /// A prompt of tokens before the picture, the picture, and tokens after it.
    private func ask(_ before: [Int32], _ image: ProcessedImage, _ after: [Int32], new: Int = 6) -> EngineRequest {
        EngineRequest(
            tokenIDs: before + [Int32](repeating: 0, count: image.tokenCount) + after, images: [image],
            generation: GenerationConfig(maxNewTokens: new))
    }

    /// What the model answers when it sees the picture's own pixels.
    private func answer(_ request: EngineRequest) -> [Int32] {
        var rows = request.images.flatMap(\.pixels)[...]
        let seen = request.tokenIDs.map { $0 == 0 ? rows.removeFirst() : Float($0) }
        return EchoHash.answer(to: seen, count: request.generation.maxNewTokens ?? 0)
    }

    // MARK: Hits

    @Test(arguments: Timing.allCases) func theSecondQuestionComputesOnlyItsNewTokens(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let image = picture(Array(101...120))
        let first = ask([3, 4], image, [5, 6, 7])
        #expect(try engine.answer(first).tokenIDs == answer(first))
        #expect(engine.encoder.passes == [1])
        let computed = engine.core.statistics.prefilledTokens

        // The same pixels in another array, and another question.
        let second = ask([3, 4], picture(Array(101...120)), [8, 9])
        let response = try engine.answer(second)
        #expect(response.tokenIDs == answer(second))
        #expect(engine.encoder.passes == [1], "the picture is not encoded again")
        // Blocks hold four tokens: the first 20 of 24 are found, 8 of the picture's 20 rows in blocks of their own.
        #expect(response.cachedTokenCount == 20)
        #expect(engine.core.statistics.prefilledTokens - computed == 4)
        #expect(response.cachedImageCount == 1)
        let statistics = engine.core.statistics
        #expect(statistics.imagesLookedUp == 2 && statistics.imagesHit == 1)
        #expect(statistics.prefixTokensLookedUp == 25 + 24 && statistics.prefixTokensHit == 20)
    }

    /// A picture wholly in the prefix is not looked at again, even where its features are gone.
    @Test(arguments: Timing.allCases) func aPictureInThePrefixNeedsNoFeatures(timing: Timing) throws {
        let engine = try SteppedEngine(timing, cacheBytes: 0)
        let image = picture(Array(101...106))
        let first = ask([3, 4], image, [5, 6, 7, 8])
        #expect(try engine.answer(first).tokenIDs == answer(first))
        let second = ask([3, 4], image, [5, 6, 9])
        let response = try engine.answer(second)
        #expect(response.tokenIDs == answer(second))
        #expect(response.cachedTokenCount == 8 && response.cachedImageCount == 1)
        #expect(engine.encoder.passes == [1])
    }

    @Test(arguments: Timing.allCases) func aTurnOfAChatComputesOnlyItself(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let image = picture(Array(101...110))
        let first = ask([3, 4], image, [5, 6, 7])
        let said = try engine.answer(first).tokenIDs
        let second = ask([3, 4], image, [5, 6, 7] + said + [8, 9, 10])
        let response = try engine.answer(second)
        #expect(response.tokenIDs == answer(second))
        // All of the first turn but its last token, which was chosen and never computed.
        #expect(response.cachedTokenCount == 15 + 6 - 1)
    }

    @Test(arguments: Timing.allCases) func aPictureElsewhereIsNotEncodedAgain(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let image = picture([101, 102, 103, 104, 105])
        let requests = [ask([3, 4], image, [5]), ask([9], image, [5])]
        #expect(try engine.answer(requests[0]).cachedImageCount == 0)
        let response = try engine.answer(requests[1])
        #expect(response.tokenIDs == answer(requests[1]))
        #expect(response.cachedTokenCount == 0 && response.cachedImageCount == 1)
        #expect(engine.encoder.passes == [1])
    }

    /// Two requests with the same picture at the same time encode it once, cache or no cache.
    @Test(arguments: [nil, 0], Timing.allCases) func twinsShareAnEncoding(cacheBytes: Int?, timing: Timing) throws {
        let engine = try SteppedEngine(timing, cacheBytes: cacheBytes)
        let requests = [ask([3], picture([101, 102]), [5]), ask([9], picture([101, 102]), [6])]
        for request in requests { try engine.submit(request) }
        try engine.drain()
        #expect(engine.encoder.passes == [1])
        for index in 0...1 { #expect(engine.responses[index]?.tokenIDs == answer(requests[index])) }
    }

    @Test(arguments: Timing.allCases) func theSamePromptAgainComputesItsLastToken(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        for count in [5, 8, 9] {
            let request = SteppedEngine.request(count, seed: count)
            #expect(try engine.answer(request).tokenIDs == SteppedEngine.answer(request))
            let before = engine.core.statistics.prefilledTokens
            let again = try engine.answer(request)
            #expect(again.tokenIDs == SteppedEngine.answer(request))
            #expect(again.cachedTokenCount == (count - 1) / 4 * 4)
            #expect(engine.core.statistics.prefilledTokens - before == count - again.cachedTokenCount)
        }
    }

    @Test(arguments: Timing.allCases) func cachingCanBeTurnedOff(timing: Timing) throws {
        let engine = try SteppedEngine(timing, cacheBytes: 0) { $0.enablePrefixCaching = false }
        let request = ask([3, 4], picture(Array(101...110)), [5, 6, 7])
        for _ in 0..<2 {
            let response = try engine.answer(request)
            #expect(response.tokenIDs == answer(request))
            #expect(response.cachedTokenCount == 0 && response.cachedImageCount == 0)
        }
        #expect(engine.encoder.passes == [1, 1])
        #expect(engine.core.statistics.cachedBlocks == 0)
    }

    /// Positions that come from the cache have no logits, so a prompt whose logits are wanted is computed from its beginning.
    @Test(arguments: Timing.allCases) func allPositionsAreComputedWhereAllAreWanted(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let plain = SteppedEngine.request(9, seed: 1, new: 3)
        _ = try engine.answer(plain)
        var all = plain
        all.generation.outputLogits = .all
        let response = try engine.answer(all)
        #expect(response.cachedTokenCount == 0)
        #expect(response.logits?.rows == 9 + 2)
        #expect(try engine.answer(plain).cachedTokenCount == 8)
    }

    // MARK: Never mixed up

    /// Pictures that differ in one pixel, at any place, share what comes before them and nothing else.
    @Test(arguments: Timing.allCases) func nearlyIdenticalPicturesAreDifferent(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 256)
        let pixels = Array(101...112)
        for changed in [nil] + pixels.indices.map({ $0 }) {
            var mine = pixels
            if let changed { mine[changed] += 1 }
            let request = ask([3, 4, 5, 6, 7], picture(mine), [8, 9])
            let response = try engine.answer(request)
            #expect(response.tokenIDs == answer(request), "pixel \(changed.map(String.init) ?? "none") changed")
            #expect(response.cachedTokenCount == (changed == nil ? 0 : 4))
            #expect(response.cachedImageCount == 0)
        }
        // All of them are still there, each its own.
        for changed in pixels.indices {
            var mine = pixels
            mine[changed] += 1
            let request = ask([3, 4, 5, 6, 7], picture(mine), [8, 10])
            let response = try engine.answer(request)
            #expect(response.tokenIDs == answer(request))
            #expect(response.cachedImageCount == 1)
        }
        #expect(engine.encoder.passes.reduce(0, +) == 13)
    }

    /// The same pictures in another order, in prompts of the same tokens.
    @Test(arguments: Timing.allCases) func theOrderOfPicturesCounts(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let images = [picture([101, 102, 103, 104]), picture([201, 202, 203, 204])]
        let tokens: [Int32] = [3, 4, 5, 6, 0, 0, 0, 0, 7, 8, 9, 10, 0, 0, 0, 0, 11]
        for order in [[0, 1], [1, 0], [0, 0], [1, 1], [0, 1]] {
            let request = EngineRequest(
                tokenIDs: tokens, images: order.map { images[$0] }, generation: GenerationConfig(maxNewTokens: 5))
            #expect(try engine.answer(request).tokenIDs == answer(request))
        }
        #expect(engine.encoder.passes.reduce(0, +) == 2)
    }

    /// Sequences that share a prefix while both run, and write on after it.
    @Test(arguments: Timing.allCases) func sharedBlocksAreNotWritten(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 4)
        let shared = SteppedEngine.prompt(12, seed: 5)
        let requests = (0..<6).map { index in
            EngineRequest(
                tokenIDs: shared + SteppedEngine.prompt(index % 3 + 1, seed: index),
                generation: GenerationConfig(maxNewTokens: 9 + index))
        }
        for request in requests {
            try engine.submit(request)
            engine.step(3)
        }
        try engine.drain()
        for (index, request) in requests.enumerated() {
            #expect(engine.responses[index]?.tokenIDs == SteppedEngine.answer(request))
        }
        #expect(engine.core.statistics.prefixTokensHit >= 5 * 12)
    }

    /// A request that is cancelled with its pass under way leaves blocks behind that hold what they are said to.
    @Test(arguments: Timing.allCases) func whatACancelledRequestLeavesIsRight(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let request = SteppedEngine.request(7, seed: 3, new: 30)
        for steps in 1...6 {
            let id = try engine.submit(request)
            engine.step(steps)
            engine.core.cancel(id)
            #expect(engine.core.statistics.usedBlocks == 0)
        }
        let response = try engine.answer(request)
        #expect(response.tokenIDs == SteppedEngine.answer(request))
        #expect(response.cachedTokenCount > 0)
    }

    /// What a pass that failed should have computed is found by nobody.
    @Test(arguments: Timing.allCases) func aFailedPassLeavesNothing(timing: Timing) throws {
        let engine = try SteppedEngine(timing)
        let request = SteppedEngine.request(9, seed: 2)
        engine.language.failingPass = 1
        #expect(try engine.answer(request).finishReason == .error)
        let response = try engine.answer(request)
        #expect(response.tokenIDs == SteppedEngine.answer(request))
        #expect(response.cachedTokenCount == 0)
    }

    /// A device reports a failure when others have already found what it should have computed.
    @Test func nobodyGoesOnFromAPassThatFailedLate() throws {
        let engine = try SteppedEngine(.late)
        engine.language.failingPass = 0
        engine.language.failsLate = true
        let requests = (0..<3).map {
            EngineRequest(
                tokenIDs: SteppedEngine.prompt(9, seed: 1) + [Int32($0 + 1)], generation: GenerationConfig(maxNewTokens: 6))
        }
        try engine.submit(requests[0])
        engine.step(1)
        try engine.submit(requests[1])
        try engine.drain()
        #expect(engine.responses[0]?.error is TensorError)
        #expect(engine.responses[1]?.error is TensorError && engine.responses[1]?.cachedTokenCount == 8)
        let response = try engine.answer(requests[2])
        #expect(response.tokenIDs == SteppedEngine.answer(requests[2]) && response.cachedTokenCount == 0)
    }

    // MARK: Memory

    /// Where features have little room, work waits and nothing fails.
    @Test(arguments: [0, 8 * 4, 100], Timing.allCases) func featuresWaitForMemory(cacheBytes: Int, timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 4, chunk: 16, cacheBytes: cacheBytes, featureBytes: 8 * 4)
        let requests = (0..<6).map { ask([Int32($0 + 1)], picture((0..<8).map { row in 100 + row }.map { $0 + 8 * $0 }), [5]) }
        let different = (0..<6).map { index in ask([4], picture((0..<8).map { 100 + 8 * index + $0 }), [5]) }
        for request in requests + different { try engine.submit(request) }
        try engine.drain()
        for (index, request) in (requests + different).enumerated() {
            #expect(engine.responses[index]?.tokenIDs == answer(request))
        }
    }

    /// A request that goes first may wait for memory that one behind it holds, which must go on then.
    @Test(arguments: Timing.allCases) func whoHoldsFeaturesGoesOn(timing: Timing) throws {
        let engine = try SteppedEngine(timing, chunk: 4, cacheBytes: 0, featureBytes: 8 * 4)
        let requests = ([5, 9] as [Int32]).map { first in ask([first], picture((0..<8).map { 100 + Int(first) * 8 + $0 }), [5]) }
        try engine.submit(requests[0])
        engine.step(1)
        var urgent = requests[1]
        urgent.priority = 5
        try engine.submit(urgent)
        try engine.drain()
        for index in 0...1 { #expect(engine.responses[index]?.tokenIDs == answer(requests[index])) }
        #expect(engine.encoder.passes == [1, 1])
    }
}
