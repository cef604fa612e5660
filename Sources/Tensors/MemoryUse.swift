/// Device memory of one purpose in bytes: what there is, and the most there ever was.
package struct MemoryUse: Sendable, Equatable {
    package let purpose: String
    package private(set) var now: Int
    package private(set) var peak: Int

    package init(purpose: String, now: Int, peak: Int) {
        self.purpose = purpose
        self.now = now
        self.peak = peak
    }

    package mutating func change(by byteCount: Int) {
        now += byteCount
        peak = max(peak, now)
    }
}
