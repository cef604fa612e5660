import Foundation

/// LLaVA-NeXT's way with any resolution: of some canvases the one that shows most of the picture, which is fitted into its middle.
///
/// transformers 5.17.0 `image_processing_utils.select_best_resolution`, `get_patch_output_size` and `modeling_llava_next.unpad_image`.
package struct AnyResolution: Sendable, Equatable {
    /// Side of a tile; sides of canvases are multiples of it.
    package let tile: Int
    package let canvases: [TileGrid]

    package init(tile: Int, canvases: [TileGrid]) {
        precondition(tile > 0 && !canvases.isEmpty, "any resolution needs a canvas")
        self.tile = tile
        self.canvases = canvases
    }

    /// The canvas that keeps most pixels of a picture of this size, and of such the smallest.
    package func canvas(width: Int, height: Int) -> TileGrid {
        var best = canvases[0]
        var (mostUsed, leastWasted) = (0, Int.max)
        for canvas in canvases {
            let (canvasWidth, canvasHeight) = (canvas.columns * tile, canvas.rows * tile)
            let scale = min(Double(canvasWidth) / Double(width), Double(canvasHeight) / Double(height))
            let used = min(Int(Double(width) * scale) * Int(Double(height) * scale), width * height)
            let wasted = canvasWidth * canvasHeight - used
            if used > mostUsed || used == mostUsed && wasted < leastWasted {
                (best, mostUsed, leastWasted) = (canvas, used, wasted)
            }
        }
        return best
    }

    /// The picture as large as fits the canvas, in its middle.
    package func target(width: Int, height: Int, on canvas: TileGrid) -> ResizeTarget {
        let (canvasWidth, canvasHeight) = (canvas.columns * tile, canvas.rows * tile)
        let (horizontal, vertical) = (Double(canvasWidth) / Double(width), Double(canvasHeight) / Double(height))
        let fitted =
            horizontal < vertical
            ? ResizeTarget(width: canvasWidth, height: min(Int((Double(height) * horizontal).rounded(.up)), canvasHeight))
            : ResizeTarget(width: min(Int((Double(width) * vertical).rounded(.up)), canvasWidth), height: canvasHeight)
        return fitted.centered(width: canvasWidth, height: canvasHeight)
    }

    /// The size to which a grid of features shrinks that has more than `most` features, by more than a tenth on each side; nil for one that
    /// may stay (`anyres_max_N` of LLaVA-OneVision, transformers 5.17.0 `modeling_llava_onevision.py`).
    package static func shrunk(columns: Int, rows: Int, most: Int) -> (columns: Int, rows: Int)? {
        let ratio = (Double(rows * columns) / Double(most)).squareRoot()
        guard ratio > 1.1 else { return nil }
        return (floorDivided(columns, ratio), floorDivided(rows, ratio))
    }

    /// Python's `//` of an integer by a float, which does not round up to a whole number first.
    private static func floorDivided(_ value: Int, _ divisor: Double) -> Int {
        let value = Double(value)
        return Int(((value - value.truncatingRemainder(dividingBy: divisor)) / divisor).rounded())
    }

    /// The part of a grid of features over the canvas that shows the picture: lines and places in a line.
    ///
    /// - Parameters:
    ///   - width, height: of the picture before resizing.
    ///   - columns, rows: of the grid.
    package static func shown(width: Int, height: Int, columns: Int, rows: Int) -> (rows: Range<Int>, columns: Range<Int>) {
        // `int(round(x, 7))`: a whole number that was missed by rounding errors only.
        func whole(_ value: Double) -> Int { Int((value * 1e7).rounded(.toNearestOrEven) / 1e7) }
        if Double(width) / Double(height) > Double(columns) / Double(rows) {
            let border = (rows - whole(Double(height) * (Double(columns) / Double(width)))) / 2
            return (border..<rows - border, 0..<columns)
        }
        let border = (columns - whole(Double(width) * (Double(rows) / Double(height)))) / 2
        return (0..<rows, border..<columns - border)
    }
}
