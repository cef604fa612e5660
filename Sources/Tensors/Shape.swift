/// Up to four axis lengths, held inline: making or copying a shape never allocates.
package struct Shape: Sendable, Hashable, CustomStringConvertible {
    /// Axis lengths; axes at and after `rank` hold 1.
    package let axes: SIMD4<Int>
    package let rank: Int

    package init(_ a: Int) { (axes, rank) = (SIMD4(a, 1, 1, 1), 1) }
    package init(_ a: Int, _ b: Int) { (axes, rank) = (SIMD4(a, b, 1, 1), 2) }
    package init(_ a: Int, _ b: Int, _ c: Int) { (axes, rank) = (SIMD4(a, b, c, 1), 3) }
    package init(_ a: Int, _ b: Int, _ c: Int, _ d: Int) { (axes, rank) = (SIMD4(a, b, c, d), 4) }

    package subscript(axis: Int) -> Int { axes[axis] }

    package var count: Int { axes[0] &* axes[1] &* axes[2] &* axes[3] }

    package var description: String {
        "[" + (0..<rank).map { "\(axes[$0])" }.joined(separator: ", ") + "]"
    }
}
