import Engine
import Models
import Tensors
import TestKit
import Testing

/// The engine as callers on any task see it: queue, cancellation, sleep and close.
struct EngineLifeTests {
    @Sendable private static func core(batch: Int = 2, waiting: Int = 64) throws -> EngineCore {
        let model = LoadedModel(family: "Echo", language: EchoModel(), eosTokenIDs: [])
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        let config = EngineConfig(
            sessionLen: 2048, maxBatchSize: batch, cacheMaxEntryCount: 600, cacheBlockSeqLen: 4, maxPrefillTokenNum: 32,
            maxWaitingRequests: waiting)
        let plan = try MemoryPlan(model: model, planner: planner, config: config, vision: VisionConfig(), freeBytes: 1 << 30)
        return try EngineCore(
            model: model, plan: plan, backend: ReferenceBackend(), tokenizer: LetterTokenizer(), stopTokens: [],
            vision: VisionConfig(), config: config)
    }

    private func engine(batch: Int = 2, waiting: Int = 64) async throws -> Engine {
        let engine = Engine()
        try await engine.start { (try Self.core(batch: batch, waiting: waiting), ()) }
        return engine
    }

    private func response(_ stream: AsyncThrowingStream<ResponsePiece, any Error>) async throws -> Response? {
        var last: Response?
        for try await piece in stream { last = piece.response ?? last }
        return last
    }

    /// The kinds of error that streams ended with, nil for those that answered rightly.
    private func outcomes(_ engine: Engine, count: Int, waitsForRoom: Bool) async throws -> [EngineError.Kind?] {
        try await withThrowingTaskGroup(of: EngineError.Kind?.self) { group in
            for seed in 0..<count {
                let request = SteppedEngine.request(5, seed: seed, new: 9)
                let stream = engine.stream(request, waitsForRoom: waitsForRoom)
                group.addTask {
                    do {
                        let response = try await response(stream)
                        try #require(response?.tokenIDs == SteppedEngine.answer(request))
                        return nil
                    } catch let error as EngineError {
                        return error.kind
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test func manyRequestsWaitForRoomInsteadOfRefusingOneAnother() async throws {
        let engine = try await engine(batch: 2, waiting: 1)
        #expect(try await outcomes(engine, count: 60, waitsForRoom: true) == Array(repeating: nil, count: 60))
        let statistics = try await engine.statistics()
        #expect(statistics.finishedRequests == 60 && statistics.refusedRequests == 0)
        #expect(statistics.peakWaitingRequests <= 3)
    }

    @Test func whoDoesNotWaitIsToldThatTheEngineIsBusy() async throws {
        let engine = try await engine(batch: 1, waiting: 0)
        let outcomes = try await outcomes(engine, count: 60, waitsForRoom: false)
        #expect(outcomes.contains(nil))
        #expect(outcomes.allSatisfy { $0 == nil || $0 == .busy })
        #expect(try await engine.statistics().refusedRequests == outcomes.count { $0 == .busy })
    }

    @Test func droppingAStreamCancelsItsRequest() async throws {
        let engine = try await engine()
        for try await _ in engine.stream(SteppedEngine.request(5, seed: 1, new: 2000)) { break }
        for _ in 0..<10_000 {
            if try await engine.statistics().cancelledRequests == 1 { break }
            await Task.yield()
        }
        let statistics = try await engine.statistics()
        #expect(statistics.cancelledRequests == 1 && statistics.usedBlocks == 0 && statistics.runningRequests == 0)
    }

    @Test func closingFailsWhatIsPendingAndTwiceIsFine() async throws {
        let engine = try await engine(batch: 1, waiting: 1)
        // One runs, one waits in the queue, one for room in it.
        let streams = (0..<3).map { seed in
            engine.stream(SteppedEngine.request(5, seed: seed, new: 2000), waitsForRoom: true)
        }
        while try await engine.statistics().decodedTokens < 3 { await Task.yield() }
        await engine.close()
        await engine.close()
        for stream in streams {
            do {
                let response = try await response(stream)
                #expect(response?.finishReason == .error)
                #expect((response?.error as? EngineError)?.kind == .closed)
            } catch {
                #expect((error as? EngineError)?.kind == .closed)
            }
        }
        await #expect(throws: EngineError.self) { _ = try await response(engine.stream(SteppedEngine.request(3, seed: 1))) }
        await #expect(throws: EngineError.self) { try await engine.sleep() }
        await #expect(throws: EngineError.self) { try await engine.wake { try Self.core() } }
    }

    @Test func asleepNothingRunsAndAwakeItGoesOn() async throws {
        let engine = try await engine(batch: 1, waiting: 1)
        let requests = (0..<3).map { SteppedEngine.request(5, seed: $0, new: 300) }
        let streams = requests.map { engine.stream($0, waitsForRoom: true) }
        while try await engine.statistics().decodedTokens < 3 { await Task.yield() }
        try await engine.sleep()
        try await engine.sleep()
        #expect(await engine.isAsleep)
        do {
            _ = try await response(engine.stream(requests[0]))
            Issue.record("a sleeping engine took a request")
        } catch {
            #expect((error as? EngineError)?.kind == .asleep)
        }
        await #expect(throws: EngineError.self) { try await engine.statistics() }
        // What cannot be woken sleeps on.
        await #expect(throws: CancellationError.self) { try await engine.wake { throw CancellationError() } }
        #expect(await engine.isAsleep)
        try await engine.wake { try Self.core(batch: 1, waiting: 1) }
        try await engine.wake { throw CancellationError() }
        #expect(await !engine.isAsleep)
        for (request, stream) in zip(requests, streams) {
            #expect(try await response(stream)?.tokenIDs == SteppedEngine.answer(request))
        }
    }

    @Test func closingASleeperFailsWhatItKept() async throws {
        let engine = try await engine()
        let stream = engine.stream(SteppedEngine.request(5, seed: 1, new: 2000))
        while try await engine.statistics().decodedTokens < 3 { await Task.yield() }
        try await engine.sleep()
        await engine.close()
        let closed = try await response(stream)
        #expect((closed?.error as? EngineError)?.kind == .closed)
        #expect((closed?.tokenIDs.count ?? 0) >= 3)
    }
}
