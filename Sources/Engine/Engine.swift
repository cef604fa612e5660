import Layers
import Tensors
import Text

/// Runs requests on a model: the concurrent face of ``EngineCore``.
///
/// The actor's executor owns every tensor; requests come in and pieces go out as values.
package actor Engine {
    private nonisolated let executor = EngineExecutor()
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private var core: EngineCore?
    private var isPumping = false

    package init() {}

    /// Builds the core on the engine's executor, and hands back what else `make` tells.
    package func start<Information: Sendable>(_ make: @Sendable () throws -> (EngineCore, Information)) throws -> Information {
        let (core, information) = try make()
        self.core = core
        return information
    }

    /// Runs a request and hands out its pieces; the last one carries the response.
    ///
    /// Dropping the stream cancels the request. A request that fails while it runs ends with a response whose finish reason is `error`.
    ///
    /// - Throws: ``EngineError`` from the stream when the request is refused.
    package nonisolated func stream(_ request: EngineRequest) -> AsyncThrowingStream<ResponsePiece, any Error> {
        AsyncThrowingStream { continuation in
            let submission = Task { await self.submit(request, to: continuation) }
            continuation.onTermination = { reason in
                guard case .cancelled = reason else { return }
                Task {
                    if let id = await submission.value { await self.cancel(id) }
                }
            }
        }
    }

    private func submit(
        _ request: EngineRequest, to continuation: AsyncThrowingStream<ResponsePiece, any Error>.Continuation
    ) -> Int? {
        do {
            guard let core else { throw EngineError(.closed, "the pipeline is closed") }
            let id = try core.submit(request) { piece in
                continuation.yield(piece)
                if piece.response != nil { continuation.finish() }
            }
            pump()
            return id
        } catch {
            continuation.finish(throwing: error)
            return nil
        }
    }

    private func cancel(_ id: Int) { core?.cancel(id) }

    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        Task { await self.run() }
    }

    /// Steps until nothing is left to do, letting submissions and cancellations in between steps.
    private func run() async {
        while let core, core.hasWork {
            core.step()
            await Task.yield()
        }
        isPumping = false
    }

    /// Fails what is pending and releases model and caches. Closing twice is fine.
    package func close() {
        core?.failAll(EngineError(.closed, "the pipeline was closed before the response was finished"))
        core = nil
    }

    /// Reads something of the core on its executor.
    package func withCore<Result: Sendable>(_ body: @Sendable (EngineCore) throws -> Result) throws -> Result {
        guard let core else { throw EngineError(.closed, "the pipeline is closed") }
        return try body(core)
    }
}
