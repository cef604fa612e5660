import Synchronization
package import Tensors

/// How much of a device's memory each purpose has, and the most it ever had.
final class MemoryLedger: Sendable {
    private struct Books {
        var uses: [String: MemoryUse] = [:]
        var total = MemoryUse(purpose: "all", now: 0, peak: 0)
    }
    private let books = Mutex(Books())

    func add(_ byteCount: Int, for purpose: String) {
        books.withLock {
            $0.uses[purpose, default: MemoryUse(purpose: purpose, now: 0, peak: 0)].change(by: byteCount)
            $0.total.change(by: byteCount)
        }
    }

    func remove(_ byteCount: Int, for purpose: String) {
        books.withLock {
            $0.uses[purpose]?.change(by: -byteCount)
            $0.total.change(by: -byteCount)
        }
    }

    /// All purposes, the largest first, after the total.
    var uses: [MemoryUse] {
        books.withLock { books in [books.total] + books.uses.values.sorted { ($0.peak, $1.purpose) > ($1.peak, $0.purpose) } }
    }
}

extension CUDABackend {
    package var memoryUses: [MemoryUse] { context.ledger.uses }
}
