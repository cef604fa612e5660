import Synchronization

/// Counts what backends have allocated and not freed, also when they are gone.
package final class HostMemoryLedger: Sendable {
    private let bytes = Atomic(0)

    package init() {}

    /// Bytes that are allocated.
    package var liveBytes: Int { bytes.load(ordering: .relaxed) }

    func add(_ count: Int) { bytes.wrappingAdd(count, ordering: .relaxed) }
}
