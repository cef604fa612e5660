import Foundation

/// Resizes a square table of position embeddings as `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` does:
/// four taps per axis with a = -0.75, no antialiasing, edges repeated.
package enum BicubicGrid {
    /// - Parameter values: `[side, side, channels]`.
    /// - Returns: `[newSide, newSide, channels]`.
    package static func resized(_ values: [Float], side: Int, channels: Int, newSide: Int) -> [Float] {
        if side == newSide { return values }
        let taps = (0..<newSide).map { axisTaps($0, side: side, newSide: newSide) }
        var out = [Float](repeating: 0, count: newSide * newSide * channels)
        for y in 0..<newSide {
            for x in 0..<newSide {
                let target = (y * newSide + x) * channels
                for row in taps[y] {
                    for column in taps[x] {
                        let weight = row.weight * column.weight
                        let source = (row.index * side + column.index) * channels
                        for channel in 0..<channels { out[target + channel] += weight * values[source + channel] }
                    }
                }
            }
        }
        return out
    }

    private static func axisTaps(_ position: Int, side: Int, newSide: Int) -> [(index: Int, weight: Float)] {
        let source = (Float(position) + 0.5) * Float(side) / Float(newSide) - 0.5
        let base = source.rounded(.down)
        return (-1...2).map { offset in
            let index = min(max(Int(base) + offset, 0), side - 1)
            return (index, weight(abs(source - base - Float(offset))))
        }
    }

    /// Keys' cubic kernel.
    private static func weight(_ distance: Float) -> Float {
        let a: Float = -0.75
        if distance <= 1 { return ((a + 2) * distance - (a + 3)) * distance * distance + 1 }
        return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    }
}
