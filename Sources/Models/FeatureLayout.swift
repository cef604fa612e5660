/// Which feature rows make up an image whose tiles' rows are rearranged: borders left out, rows ended by a newline.
package struct FeatureLayout: Sendable, Equatable {
    /// Rows of the tiles' features, tile after tile, or ``newline``.
    package private(set) var indices: [Int32] = []

    /// Stands for the trained row that ends a line.
    package static let newline: Int32 = -1

    package var count: Int { indices.count }
    /// Bytes of device memory that the layout takes.
    package var byteCount: Int { 4 * indices.count }

    package init() {}

    package mutating func append(_ row: Int) { indices.append(Int32(row)) }
    package mutating func append(_ rows: Range<Int>) { indices.append(contentsOf: rows.lazy.map { Int32($0) }) }
    package mutating func appendNewline() { indices.append(FeatureLayout.newline) }
}
