import Layers
import Tensors
import Text

/// Runs requests on a model: the concurrent face of ``EngineCore``.
///
/// The actor's executor owns every tensor; requests come in and pieces go out as values.
package actor Engine {
    private nonisolated let executor = EngineExecutor()
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// What there is of a model.
    private enum State {
        case closed
        case awake(EngineCore)
        case asleep(SuspendedRequests)
    }

    /// Knows equal pictures of all requests. It outlives sleep, as the pictures that requests hold do.
    private nonisolated let interner = ImageInterner()
    private var state = State.closed
    private var isPumping = false
    /// How often the pump looked which core there is.
    private var turns = 0
    /// Submissions that wait until the queue has room, in the order they came.
    private var waitingForRoom: [CheckedContinuation<Void, Never>] = []

    package init() {}

    private func awakeCore() throws -> EngineCore {
        switch state {
        case .awake(let core): return core
        case .closed: throw EngineError(.closed, "the pipeline is closed")
        case .asleep: throw EngineError(.asleep, "the pipeline sleeps; call wake() first")
        }
    }

    // MARK: Life

    /// Builds the core on the engine's executor, and hands back what else `make` tells.
    package func start<Information: Sendable>(_ make: @Sendable () throws -> (EngineCore, Information)) throws -> Information {
        let (core, information) = try make()
        state = .awake(core)
        return information
    }

    /// Gives back the device's and the host's memory: weights, KV cache and features. Requests under way are kept, with what they have
    /// said so far, and go on after ``wake(_:)``; new ones are refused meanwhile. Sleeping twice is fine.
    ///
    /// - Throws: ``EngineError`` of kind `closed` when there is nothing to wake later.
    package func sleep() async throws {
        switch state {
        case .asleep: return
        case .closed: throw EngineError(.closed, "the pipeline is closed")
        case .awake(let core):
            state = .asleep(core.suspend())
        }
        await pumpLetsGo()
    }

    /// Waits until steps no longer hold on to the core that was there when this was called: its memory is free then.
    private func pumpLetsGo() async {
        let turn = turns
        while isPumping, turns == turn { await Task.yield() }
    }

    /// Builds the core again, from the same checkpoint and configuration, and goes on with the requests that slept. Does nothing when awake.
    ///
    /// - Throws: what `make` throws; the engine sleeps on then.
    package func wake(_ make: @Sendable () throws -> EngineCore) throws {
        switch state {
        case .awake: return
        case .closed: throw EngineError(.closed, "the pipeline is closed")
        case .asleep(let requests):
            let core = try make()
            core.resume(requests)
            state = .awake(core)
            pump()
            admitWaiters()
        }
    }

    package var isAsleep: Bool { if case .asleep = state { true } else { false } }

    /// Fails what is pending and releases model and caches. Closing twice is fine.
    package func close() async {
        let error = EngineError(.closed, "the pipeline was closed before the response was finished")
        switch state {
        case .closed: return
        case .awake(let core): core.failAll(error)
        case .asleep(let requests): requests.failAll(error)
        }
        state = .closed
        admitWaiters()
        await pumpLetsGo()
    }

    // MARK: Requests

    /// Runs a request and hands out its pieces; the last one carries the response.
    ///
    /// Dropping the stream cancels the request. A request that fails while it runs ends with a response whose finish reason is `error`.
    ///
    /// - Parameter waitsForRoom: whether a request that finds the queue full waits instead of being refused: for callers that have many
    ///   requests at hand, which must not refuse one another.
    /// - Throws: ``EngineError`` from the stream when the request is refused.
    package nonisolated func stream(
        _ request: EngineRequest, waitsForRoom: Bool = false
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        var known = request
        known.intern(by: interner)
        let request = known
        return AsyncThrowingStream { continuation in
            let submission = Task { await self.submit(request, waitsForRoom: waitsForRoom, to: continuation) }
            continuation.onTermination = { reason in
                guard case .cancelled = reason else { return }
                submission.cancel()
                Task {
                    if let id = await submission.value { await self.cancel(id) }
                }
            }
        }
    }

    private func submit(
        _ request: EngineRequest, waitsForRoom: Bool,
        to continuation: AsyncThrowingStream<ResponsePiece, any Error>.Continuation
    ) async -> Int? {
        do {
            _ = try awakeCore()
            while waitsForRoom, try room == 0 { await withCheckedContinuation { waitingForRoom.append($0) } }
            // A stream that was dropped meanwhile wants nothing any more.
            try Task.checkCancellation()
            let id = try awakeCore().submit(request) { piece in
                continuation.yield(piece)
                if piece.response != nil { continuation.finish() }
            }
            pump()
            return id
        } catch {
            continuation.finish(throwing: error)
            // The room it was given is somebody else's.
            admitWaiters()
            return nil
        }
    }

    /// Requests that the queue would take.
    private var room: Int {
        get throws {
            switch state {
            case .awake(let core): return core.room
            case .asleep: return 0
            case .closed: throw EngineError(.closed, "the pipeline is closed")
            }
        }
    }

    private func cancel(_ id: Int) {
        switch state {
        case .awake(let core): core.cancel(id)
        case .asleep(var requests):
            requests.cancel(id)
            state = .asleep(requests)
        case .closed: return
        }
    }

    // MARK: Steps

    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        Task { await self.run() }
    }

    /// Steps until nothing is left to do, letting submissions and cancellations in between steps.
    private func run() async {
        while case .awake(let core) = state, core.hasWork {
            core.step()
            admitWaiters()
            await Task.yield()
            turns &+= 1
        }
        isPumping = false
        admitWaiters()
    }

    /// Lets as many of those who wait for room look again as there is room for; all of them when the engine was closed.
    private func admitWaiters() {
        guard !waitingForRoom.isEmpty else { return }
        let count = min((try? room) ?? .max, waitingForRoom.count)
        let next = waitingForRoom.prefix(count)
        waitingForRoom.removeFirst(count)
        for waiter in next { waiter.resume() }
    }

    // MARK: Looking in

    /// What was done since the model was loaded, and what goes on.
    package func statistics() throws -> EngineStatistics { try awakeCore().statistics }

    /// Reads something of the core on its executor.
    package func withCore<Result: Sendable>(_ body: @Sendable (EngineCore) throws -> Result) throws -> Result {
        try body(awakeCore())
    }
}
