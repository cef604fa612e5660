/// A grid of square tiles.
package struct TileGrid: Sendable, Equatable {
    package let columns: Int
    package let rows: Int

    package var count: Int { columns * rows }

    package init(columns: Int, rows: Int) {
        self.columns = columns
        self.rows = rows
    }
}

/// How InternVL cuts a picture into tiles: a grid whose shape is close to the picture's, and a thumbnail after it.
///
/// Two forms exist. The processor of transformers (`.huggingFace`, transformers 5.17.0 `image_processing_got_ocr2.py`) resizes
/// with torchvision's arithmetic; the remote code published with the original checkpoints (`.original`, `dynamic_preprocess`)
/// with Pillow's, and it tries grids of the same area in another order.
package struct InternVLTiling: Sendable, Equatable {
    package enum Form: Sendable {
        case huggingFace
        case original
    }

    package let form: Form
    /// Width and height of a tile in pixels.
    package let tileWidth: Int
    package let tileHeight: Int
    package let minTiles: Int
    package let maxTiles: Int
    /// Whether the whole picture follows as one more tile where there is more than one.
    package let usesThumbnail: Bool

    package init(
        form: Form, tileWidth: Int, tileHeight: Int, minTiles: Int = 1, maxTiles: Int = 12, usesThumbnail: Bool = true
    ) {
        precondition(tileWidth > 0 && tileHeight > 0 && minTiles > 0, "a tiling needs positive sizes")
        self.form = form
        self.tileWidth = tileWidth
        self.tileHeight = tileHeight
        self.minTiles = minTiles
        self.maxTiles = maxTiles
        self.usesThumbnail = usesThumbnail
    }

    /// The grid for a picture of this size.
    ///
    /// The closest aspect ratio wins. Of equally close grids a later one, of more tiles, is taken while the picture has more
    /// than half the pixels of that grid.
    package func grid(width: Int, height: Int) -> TileGrid {
        let ratio = Double(width) / Double(height), area = Double(width * height)
        var best = TileGrid(columns: 1, rows: 1)
        var bestDifference = Double.infinity
        for grid in candidates {
            let difference = abs(ratio - Double(grid.columns) / Double(grid.rows))
            if difference < bestDifference {
                (best, bestDifference) = (grid, difference)
            } else if difference == bestDifference, area > 0.5 * Double(tileWidth * tileHeight * grid.count) {
                best = grid
            }
        }
        return best
    }

    /// Sizes that tiles are cut from: that of the grid and, where a thumbnail is wanted, that of one tile.
    package func sizes(width: Int, height: Int) -> [(width: Int, height: Int)] {
        let grid = grid(width: width, height: height)
        let canvas = (grid.columns * tileWidth, grid.rows * tileHeight)
        return usesThumbnail && grid.count > 1 ? [canvas, (tileWidth, tileHeight)] : [canvas]
    }

    package var arithmetic: ResampleArithmetic { form == .original ? .pillow : .torch }

    /// The tiles row by row, then the thumbnail: each [tileHeight, tileWidth, 3].
    package func tiles(_ image: RGBImage, filter: ResampleFilter = .bicubic) -> [RGBImage] {
        sizes(width: image.width, height: image.height).flatMap {
            resize(image, width: $0.width, height: $0.height, filter: filter, arithmetic: arithmetic)
                .tiles(width: tileWidth, height: tileHeight)
        }
    }

    /// How many tiles, with the thumbnail, a picture of this size gives.
    package func tileCount(width: Int, height: Int) -> Int {
        let count = grid(width: width, height: height).count
        return count > 1 && usesThumbnail ? count + 1 : count
    }

    /// Grids by area, and within an area by columns. The original sorts a set, whose order within an area is Python's; with one
    /// tile as the least, two grids of the same area are never equally close, so that order decides nothing.
    private var candidates: [TileGrid] {
        guard maxTiles >= minTiles else { return [] }
        var grids: [TileGrid] = []
        for area in minTiles...maxTiles {
            for columns in 1...area where area % columns == 0 {
                grids.append(TileGrid(columns: columns, rows: area / columns))
            }
        }
        return grids
    }
}

extension RGBImage {
    /// Parts of one size that fill the picture, row by row; its sides are multiples of theirs.
    package func tiles(width tileWidth: Int, height tileHeight: Int) -> [RGBImage] {
        if width == tileWidth, height == tileHeight { return [self] }
        let columns = width / tileWidth
        return (0..<columns * (height / tileHeight)).map { index in
            cropped(
                left: index % columns * tileWidth, top: index / columns * tileHeight, width: tileWidth, height: tileHeight)
        }
    }

    /// The part of a picture; it must lie inside.
    package func cropped(left: Int, top: Int, width: Int, height: Int) -> RGBImage {
        precondition(
            left >= 0 && top >= 0 && width > 0 && height > 0 && left + width <= self.width && top + height <= self.height,
            "a crop must lie inside the picture")
        var part: [UInt8] = []
        part.reserveCapacity(width * height * 3)
        for y in top..<top + height {
            let start = (y * self.width + left) * 3
            part += pixels[start..<start + width * 3]
        }
        return RGBImage(uncheckedWidth: width, height: height, pixels: part)
    }
}
