import Engine
import Models
import Testing

/// Who runs when: queue, priorities, deadlines, chunks, preemption.
struct SchedulingTests {
    typealias Timing = SteppedEngine.Timing

    // MARK: Waiting

    @Test(arguments: Timing.allCases) func aFullQueueIsBusyUntilSomebodyGoes(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 2) { $0.maxWaitingRequests = 3 }
        // Two can go at once, three may wait.
        for seed in 0..<5 { try engine.submit(SteppedEngine.request(5, seed: seed)) }
        let busy = try #require(engine.refusal(SteppedEngine.request(5, seed: 9)))
        #expect(busy.kind == .busy)
        #expect(busy.detail.contains("5 wait"))
        #expect(engine.core.statistics.refusedRequests == 1)
        engine.step(1)
        #expect(engine.refusal(SteppedEngine.request(5, seed: 9))?.kind == .busy)
        try engine.drain()
        #expect(engine.finished.count == 5)
        #expect(engine.refusal(SteppedEngine.request(5, seed: 9)) == nil)
    }

    @Test(arguments: Timing.allCases) func higherPrioritiesGoFirstAndEqualOnesInOrder(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 1)
        for (seed, priority) in [0, 0, 5, -1, 5, 1].enumerated() {
            try engine.submit(SteppedEngine.request(5, seed: seed, new: 2, priority: priority))
        }
        try engine.drain()
        #expect(engine.finished == [2, 4, 5, 0, 1, 3])
    }

    /// A step of priority overtakes 256 later arrivals and no more, so that a stream of important requests starves nobody.
    @Test func nobodyStarves() throws {
        let engine = try SteppedEngine(.immediate, batch: 1)
        try engine.submit(SteppedEngine.request(2, seed: 0, new: 1, priority: 1))
        try engine.submit(SteppedEngine.request(2, seed: 1, new: 1))
        for seed in 2..<600 {
            try engine.submit(SteppedEngine.request(2, seed: seed, new: 1, priority: 1))
            engine.step(1)
        }
        try engine.drain()
        let place = try #require(engine.finished.firstIndex(of: 1))
        #expect(place >= 250 && place <= 258)
    }

    @Test func prioritiesOutOfRangeAreRefused() throws {
        let engine = try SteppedEngine(.immediate)
        for priority in [-1001, 1001, .max, .min] {
            #expect(engine.refusal(SteppedEngine.request(3, seed: 1, priority: priority))?.kind == .invalidRequest)
        }
    }

    @Test(arguments: Timing.allCases) func deadlinesEndWhatWaitsAndWhatRuns(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 1)
        var running = SteppedEngine.request(5, seed: 1, new: 100)
        running.deadline = .now + .milliseconds(40)
        var waiting = SteppedEngine.request(5, seed: 2, new: 100)
        waiting.deadline = .now + .milliseconds(20)
        let patient = SteppedEngine.request(5, seed: 3, new: 6)
        try engine.submit(running)
        try engine.submit(waiting)
        try engine.submit(patient)
        engine.step(3)
        #expect(engine.finished.isEmpty)
        let end = ContinuousClock.now + .milliseconds(50)
        while ContinuousClock.now < end {}
        engine.step(1)
        #expect(engine.finished == [0, 1])
        for index in 0...1 {
            let response = try #require(engine.responses[index])
            #expect(response.finishReason == .abort)
            #expect((response.error as? EngineError)?.kind == .deadlineExceeded)
        }
        try #expect(#require(engine.responses[0]).tokenIDs.count >= 1)
        try engine.drain()
        #expect(engine.responses[2]?.tokenIDs == SteppedEngine.answer(patient))
        #expect(engine.core.statistics.usedBlocks == 0)

        var late = SteppedEngine.request(5, seed: 4)
        late.deadline = .now - .seconds(1)
        #expect(engine.refusal(late)?.kind == .deadlineExceeded)
    }

    @Test(arguments: Timing.allCases) func whatCanNeverFitIsRefusedWithItsNumbers(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 8, sessionLen: 32)
        let long = engine.refusal(SteppedEngine.request(33, seed: 1))
        #expect(long?.kind == .contextLengthExceeded)
        #expect(long?.detail.contains("33") == true && long?.detail.contains("32") == true)
        var greedy = SteppedEngine.request(20, seed: 1, new: 40)
        greedy.generation.minNewTokens = 13
        #expect(engine.refusal(greedy)?.kind == .contextLengthExceeded)
        #expect(engine.refusal(greedy)?.detail.contains("leaves 12") == true)
        greedy.generation.minNewTokens = 12
        #expect(engine.refusal(greedy) == nil)
    }

    // MARK: Joining and leaving

    @Test(arguments: Timing.allCases) func requestsJoinAndLeaveBetweenSteps(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 3)
        let requests = (0..<9).map { SteppedEngine.request(3 + $0 * 5 % 11, seed: $0, new: 2 + $0 * 7 % 13) }
        for request in requests {
            try engine.submit(request)
            engine.step(2)
        }
        try engine.drain()
        for (index, request) in requests.enumerated() {
            #expect(engine.responses[index]?.tokenIDs == SteppedEngine.answer(request))
        }
        #expect(engine.core.statistics.usedBlocks == 0)
        #expect(engine.core.statistics.finishedRequests == 9)
        #expect(engine.core.statistics.peakRunningRequests == 3)
    }

    /// While a long prompt is computed in chunks, those who decode get a token in every step.
    @Test(arguments: Timing.allCases) func aLongPromptStallsNobody(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 128, chunk: 64, besideDecodes: 8, sessionLen: 256)
        let running = SteppedEngine.request(4, seed: 1, new: 60)
        let long = SteppedEngine.request(150, seed: 2, new: 3)
        try engine.submit(running)
        engine.step(3)
        try engine.submit(long)
        let before = engine.tokens[0]?.count ?? 0
        for step in 1...15 {
            engine.step(1)
            #expect(engine.tokens[0]?.count == before + step)
        }
        #expect(engine.language.passes.suffix(15).allSatisfy { $0 <= 9 })
        try engine.drain()
        #expect(engine.responses[0]?.tokenIDs == SteppedEngine.answer(running))
        #expect(engine.responses[1]?.tokenIDs == SteppedEngine.answer(long))
    }

    /// A short question does not wait for the end of a long document before it.
    @Test(arguments: Timing.allCases) func aShortPromptPassesALongOne(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 128, chunk: 16, sessionLen: 256)
        let requests = [SteppedEngine.request(200, seed: 1, new: 2), SteppedEngine.request(6, seed: 2, new: 2)]
        for request in requests { try engine.submit(request) }
        try engine.drain()
        #expect(engine.finished == [1, 0])
        for (index, request) in requests.enumerated() {
            #expect(engine.responses[index]?.tokenIDs == SteppedEngine.answer(request))
        }
    }

    @Test func prefillSharesFollowTheirRule() {
        #expect(PrefillPolicy.shares([], budget: 8) == [])
        #expect(PrefillPolicy.shares([3, 4, 5], budget: 12) == [3, 4, 5])
        #expect(PrefillPolicy.shares([3, 20], budget: 8) == [3, 5])
        #expect(PrefillPolicy.shares([20, 3, 9, 1], budget: 8) == [4, 3, 0, 1])
        #expect(PrefillPolicy.shares([20, 30, 40], budget: 8) == [8, 0, 0])
        #expect(PrefillPolicy.shares([20], budget: 1) == [1])
    }

    // MARK: Blocks

    @Test(arguments: Timing.allCases) func blocksAreTakenAsResponsesGrow(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 16, sessionLen: 64)
        // The longest response would need all sixteen blocks.
        for seed in 0..<3 { try engine.submit(SteppedEngine.request(6, seed: seed, new: 57)) }
        engine.step(2)
        #expect(engine.core.statistics.runningRequests == 3)
        #expect(engine.core.statistics.usedBlocks == 6)
    }

    @Test(arguments: Timing.allCases) func preemptionGivesTheSameText(timing: Timing) throws {
        // Room for about one and a half of the responses.
        let engine = try SteppedEngine(timing, blocks: 12, batch: 4, sessionLen: 48)
        var requests = (0..<5).map { SteppedEngine.request(5 + $0, seed: $0, new: 24) }
        for index in 3...4 {
            requests[index].generation.temperature = 1.5
            requests[index].generation.repetitionPenalty = 1.3
            requests[index].generation.randomSeed = UInt64(index)
        }
        let alone = try requests.map { request in
            let roomy = try SteppedEngine(timing, sessionLen: 48)
            try roomy.submit(request)
            try roomy.drain()
            return try #require(roomy.responses[0])
        }
        for request in requests { try engine.submit(request) }
        try engine.drain()
        #expect(engine.core.statistics.preemptions > 0)
        for index in requests.indices {
            #expect(engine.responses[index]?.tokenIDs == alone[index].tokenIDs)
            #expect(engine.responses[index]?.text == alone[index].text)
            #expect(engine.tokens[index] == alone[index].tokenIDs, "each token is handed out once")
        }
        #expect(engine.core.statistics.usedBlocks == 0)
    }

    /// Logits of all positions are recorded once, also where they are computed twice.
    @Test(arguments: Timing.allCases) func preemptionRecordsOutputsOnce(timing: Timing) throws {
        func request(_ seed: Int) -> EngineRequest {
            var request = SteppedEngine.request(7, seed: seed, new: 24)
            request.generation.outputLogits = seed == 0 ? .generation : .all
            request.generation.outputLastHiddenState = .all
            return request
        }
        let engine = try SteppedEngine(timing, blocks: 12, batch: 3, sessionLen: 48)
        for seed in 0..<3 { try engine.submit(request(seed)) }
        try engine.drain()
        #expect(engine.core.statistics.preemptions > 0)
        for seed in 0..<3 {
            let roomy = try SteppedEngine(timing, sessionLen: 48)
            try roomy.submit(request(seed))
            try roomy.drain()
            #expect(engine.responses[seed]?.logits == roomy.responses[0]?.logits)
            #expect(engine.responses[seed]?.lastHiddenState == roomy.responses[0]?.lastHiddenState)
            #expect(engine.responses[seed]?.lastHiddenState?.rows == 7 + 23)
        }
    }

    @Test(arguments: Timing.allCases) func theNewestOfTheLowestPriorityGivesWay(timing: Timing) throws {
        let engine = try SteppedEngine(timing, blocks: 12, batch: 4, sessionLen: 48)
        let priorities = [0, 2, 0, 2]
        for (seed, priority) in priorities.enumerated() {
            try engine.submit(SteppedEngine.request(5, seed: seed, new: 30, priority: priority))
        }
        try engine.drain()
        #expect(engine.core.statistics.preemptions > 0)
        #expect(engine.finished == [1, 3, 0, 2])
    }

    @Test(arguments: Timing.allCases) func preemptedPicturesAreSeenAgain(timing: Timing) throws {
        let image = ProcessedImage(pixels: [101, 102, 103], dimensions: [3], tokenCount: 3)
        let engine = try SteppedEngine(timing, blocks: 10, batch: 3, sessionLen: 40)
        for seed in 1...3 {
            try engine.submit(
                EngineRequest(
                    tokenIDs: [Int32(seed), 0, 0, 0, 7], images: [image], generation: GenerationConfig(maxNewTokens: 25)))
        }
        try engine.drain()
        #expect(engine.core.statistics.preemptions > 0)
        for seed in 1...3 {
            #expect(engine.responses[seed - 1]?.tokenIDs == EchoHash.answer(to: [Float(seed), 101, 102, 103, 7], count: 25))
        }
    }

    @Test(arguments: Timing.allCases) func cancellingFreesBlocksWithinOneStep(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 2, chunk: 8)
        let ids = try [
            SteppedEngine.request(6, seed: 1, new: 50), SteppedEngine.request(60, seed: 2, new: 5),
            SteppedEngine.request(6, seed: 3, new: 9),
        ].map { try engine.submit($0) }
        engine.step(4)
        #expect(engine.core.statistics.runningRequests == 2 && engine.core.statistics.waitingRequests == 1)
        // One that decodes, one in the middle of its prompt.
        engine.core.cancel(ids[0])
        engine.core.cancel(ids[1])
        #expect(engine.core.statistics.usedBlocks == 0)
        engine.core.cancel(ids[1])
        try engine.drain()
        #expect(engine.finished == [0, 1, 2])
        #expect(engine.responses[0]?.finishReason == .abort && engine.responses[1]?.tokenIDs == [])
        #expect(engine.responses[2]?.tokenIDs == SteppedEngine.answer(SteppedEngine.request(6, seed: 3, new: 9)))
        #expect(engine.core.statistics.cancelledRequests == 2)
    }

    // MARK: Images

    /// A picture longer than a chunk is encoded once, and let go when its last row is computed.
    @Test(arguments: [1, 2, 3, 5], Timing.allCases) func aSplitPictureIsEncodedOnce(chunk: Int, timing: Timing) throws {
        let pixels = (0..<9).map { Float(101 + $0) }
        let image = ProcessedImage(pixels: pixels, dimensions: [9], tokenCount: 9)
        let engine = try SteppedEngine(timing, batch: 1, chunk: chunk)
        try engine.submit(
            EngineRequest(
                tokenIDs: [4] + [Int32](repeating: 0, count: 9) + [5], images: [image],
                generation: GenerationConfig(maxNewTokens: 4)))
        try engine.drain()
        #expect(engine.responses[0]?.tokenIDs == EchoHash.answer(to: [4] + pixels + [5], count: 4))
        #expect(engine.encoder.passes == [1])
    }

    /// Pictures of different requests share a pass; beside decodes a step has one pass and few rows.
    @Test(arguments: Timing.allCases) func picturesOfDifferentRequestsShareAPass(timing: Timing) throws {
        let engine = try SteppedEngine(timing, batch: 8, besideDecodes: 6, images: 4)
        func ask(_ seed: Int) -> EngineRequest {
            let image = ProcessedImage(pixels: [Float(100 + seed), 7], dimensions: [2], tokenCount: 2)
            return EngineRequest(tokenIDs: [3, 0, 0], images: [image], generation: GenerationConfig(maxNewTokens: 12))
        }
        for seed in 0..<5 { try engine.submit(ask(seed)) }
        engine.step(1)
        #expect(engine.encoder.passes == [4, 1])
        for seed in 5..<8 { try engine.submit(ask(seed)) }
        engine.step(1)
        // Two prompts of three tokens are what a step beside decodes holds.
        #expect(engine.encoder.passes == [4, 1, 2])
        engine.step(1)
        #expect(engine.encoder.passes == [4, 1, 2, 1])
        try engine.drain()
        for seed in 0..<8 {
            #expect(engine.responses[seed]?.tokenIDs == EchoHash.answer(to: [3, Float(100 + seed), 7], count: 12))
        }
        #expect(engine.core.statistics.encodedImages == 8 && engine.core.statistics.visionPasses == 4)
    }

    // MARK: Sleep

    @Test(arguments: Timing.allCases) func whatSleptGoesOnWithTheSameText(timing: Timing) throws {
        let first = try SteppedEngine(timing, batch: 2)
        var requests = (0..<3).map { SteppedEngine.request(6 + $0, seed: $0, new: 14) }
        requests[1].generation.temperature = 1
        requests[1].generation.randomSeed = 4
        let whole = try SteppedEngine(timing, batch: 2)
        for request in requests { try whole.submit(request) }
        try whole.drain()

        for request in requests { try first.submit(request) }
        first.step(5)
        let suspended = first.core.suspend()
        #expect(suspended.count == 3)
        #expect(!first.core.hasWork && first.core.statistics.usedBlocks == 0)
        let second = try SteppedEngine(timing, batch: 2)
        second.core.resume(suspended)
        try second.drain()
        for index in requests.indices {
            #expect(first.responses[index]?.tokenIDs == whole.responses[index]?.tokenIDs)
            #expect(first.tokens[index] == whole.tokens[index])
        }
    }
}
