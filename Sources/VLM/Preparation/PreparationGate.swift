import Synchronization

/// Lets a bounded number in at a time, and only while few enough bytes are held. Who waits goes in by priority, then in the order of coming.
package final class PreparationGate: Sendable {
    private struct Waiter {
        let ticket: UInt64
        let priority: Int
        let bytes: Int
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var inside = 0
        var bytes = 0
        var nextTicket: UInt64 = 0
        /// The next one first.
        var waiters: [Waiter] = []
    }

    private let places: Int
    private let byteLimit: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - places: how many may be inside.
    ///   - byteLimit: how many bytes may be held; more only for one that comes while none are.
    package init(places: Int, byteLimit: Int) {
        self.places = max(1, places)
        self.byteLimit = byteLimit
    }

    /// Waits to be let in, which takes `bytes`.
    ///
    /// - Throws: `CancellationError` when the task is cancelled meanwhile; nothing is taken then.
    package func enter(bytes: Int = 0, priority: Int = 0) async throws(CancellationError) {
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        let isInside = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let refused = state.withLock { state in
                    // Cancelled from here on, the handler finds the waiter.
                    guard !Task.isCancelled else { return true }
                    let place = state.waiters.firstIndex { $0.priority < priority } ?? state.waiters.endIndex
                    state.waiters.insert(
                        Waiter(ticket: ticket, priority: priority, bytes: bytes, continuation: continuation), at: place)
                    return false
                }
                if refused { continuation.resume(returning: false) } else { admit() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.ticket == ticket }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume(returning: false)
            // Who stood behind may be small enough.
            if waiter != nil { admit() }
        }
        guard isInside else { throw CancellationError() }
    }

    /// Frees a place; what it took stays held.
    package func leave() { change { $0.inside -= 1 } }

    /// Counts further bytes as held.
    package func hold(bytes: Int) { state.withLock { $0.bytes += bytes } }

    /// Gives bytes back.
    package func release(bytes: Int) { change { $0.bytes -= bytes } }

    /// Bytes that are held, and how many wait.
    package var usage: (bytes: Int, waiting: Int) { state.withLock { ($0.bytes, $0.waiters.count) } }

    private func change(_ body: (inout State) -> Void) {
        state.withLock { body(&$0) }
        admit()
    }

    private func admit() {
        let admitted = state.withLock { state in
            var admitted: [Waiter] = []
            // Strictly in order: a large one is not passed by small ones for ever.
            while let next = state.waiters.first, state.inside < places,
                state.bytes == 0 || (state.bytes < byteLimit && state.bytes + next.bytes <= byteLimit)
            {
                state.inside += 1
                state.bytes += next.bytes
                admitted.append(state.waiters.removeFirst())
            }
            return admitted
        }
        for waiter in admitted { waiter.continuation.resume(returning: true) }
    }
}
