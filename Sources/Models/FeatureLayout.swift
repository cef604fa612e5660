/// Which feature rows make up an image whose tiles' rows are rearranged: borders left out, lines ended by a newline, or shrunk.
package struct FeatureLayout: Sendable, Equatable {
    /// Rows of the tiles' features, tile after tile, or ``newline``; with ``weights`` as many for each row of the image as there are taps.
    package private(set) var indices: [Int32] = []
    /// What each index counts where rows of the image are sums of ``taps`` rows; nil where they are rows as they are.
    package private(set) var weights: [Float]?

    /// Stands for the trained row that ends a line.
    package static let newline: Int32 = -1
    /// Neighbours that a row is interpolated from.
    package static let taps = 4

    /// Feature rows of the image.
    package var count: Int { weights == nil ? indices.count : indices.count / FeatureLayout.taps }
    /// What the sum adds to the first row of each, as weights.
    package var differences: [Float]? {
        weights.map { $0.enumerated().map { $0 % FeatureLayout.taps == 0 ? $1 - 1 : $1 } }
    }
    /// Bytes of device memory that the layout takes.
    package var byteCount: Int { 4 * (indices.count + (weights.map { $0.count + count } ?? 0)) }

    /// - Parameter blends: whether rows may be sums.
    package init(blends: Bool = false) { weights = blends ? [] : nil }

    /// A row as it is.
    package mutating func append(_ row: Int32) {
        guard weights != nil else { return indices.append(row) }
        for tap in 0..<FeatureLayout.taps {
            indices.append(row)
            weights?.append(tap == 0 ? 1 : 0)
        }
    }

    package mutating func append(_ rows: Range<Int>) { for row in rows { append(Int32(row)) } }

    /// A sum of ``taps`` rows.
    package mutating func append(_ sum: [(row: Int, weight: Float)]) {
        precondition(
            weights != nil && sum.count == FeatureLayout.taps, "a layout of sums takes \(FeatureLayout.taps) rows for each")
        for (row, weight) in sum {
            indices.append(Int32(row))
            weights?.append(weight)
        }
    }
}
