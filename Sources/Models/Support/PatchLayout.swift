/// In which order the patches of several images go through a Qwen vision tower, and which of them attend to one another.
///
/// Patches come in merge blocks (2x2 patches that become one feature row), blocks row by row. With windows, blocks of one
/// window are brought together, windows row by row; `transformers` 5.17.0 `vision_utils.get_vision_window_index`.
package struct PatchLayout {
    /// For each block in tower order, its index in the order of the images' pixels.
    package private(set) var blocks: [Int32] = []
    /// Row and column of each patch in tower order.
    package private(set) var rows: [Int32] = []
    package private(set) var columns: [Int32] = []
    /// Starts of frames, in patches, with the total at the end.
    package private(set) var frames: [Int32] = [0]
    /// Starts of windows, in patches, with the total at the end.
    package private(set) var windows: [Int32] = [0]
    /// Starts of images, in blocks, with the total at the end.
    package private(set) var images: [Int] = [0]

    /// - Parameters:
    ///   - grids: `[t, h, w]` of each image in patches.
    ///   - merge: patches per side of a block.
    ///   - window: blocks per side of a window, nil for none.
    package init(grids: [[Int]], merge: Int, window: Int?) {
        for grid in grids {
            let (height, width) = (grid[1] / merge, grid[2] / merge)
            for frame in 0..<grid[0] {
                let first = images[images.count - 1] + frame * height * width
                // A window as large as the frame keeps the order of the pixels.
                let (rowStep, columnStep) = (window ?? max(height, 1), window ?? max(width, 1))
                for top in stride(from: 0, to: height, by: rowStep) {
                    for left in stride(from: 0, to: width, by: columnStep) {
                        for row in top..<min(top + rowStep, height) {
                            for column in left..<min(left + columnStep, width) {
                                append(row, column, merge: merge)
                                blocks.append(Int32(first + row * width + column))
                            }
                        }
                        windows.append(Int32(rows.count))
                    }
                }
                frames.append(Int32(rows.count))
            }
            images.append(images[images.count - 1] + grid[0] * height * width)
        }
    }

    private mutating func append(_ row: Int, _ column: Int, merge: Int) {
        for y in 0..<merge {
            for x in 0..<merge {
                rows.append(Int32(row * merge + y))
                columns.append(Int32(column * merge + x))
            }
        }
    }

    /// For each block in the order of the pixels, its index in tower order.
    package var inverse: [Int32] {
        var inverse = [Int32](repeating: 0, count: blocks.count)
        for (position, block) in blocks.enumerated() { inverse[Int(block)] = Int32(position) }
        return inverse
    }
}
