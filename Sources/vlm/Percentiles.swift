/// A set of measured values by rank.
struct Percentiles: Sendable {
    /// Least first.
    let sorted: [Double]

    init(_ values: [Double]) { sorted = values.sorted() }

    /// The value that `share` of all, between 0 and 1, do not exceed, between two ranks in proportion; nil without values.
    func callAsFunction(_ share: Double) -> Double? {
        guard let last = sorted.indices.last else { return nil }
        let rank = min(max(share, 0), 1) * Double(last)
        let below = Int(rank)
        let above = min(below + 1, last)
        return sorted[below] + (sorted[above] - sorted[below]) * (rank - Double(below))
    }
}
