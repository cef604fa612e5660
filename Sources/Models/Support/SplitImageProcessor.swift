import Checkpoints
import Imaging

/// The picture enlarged until its longer edge has a set length, cut into tiles that fill it, and all of it once more as the last tile
/// (Idefics3). Transformers 5.17.0 `image_processing_idefics3.py`.
struct SplitImageProcessor: ImageProcessor {
    /// nil leaves the picture's own size.
    let longestEdge: Int?
    let tile: Int
    let splits: Bool
    let filter: ResampleFilter
    let normalization: Normalization
    let tokensPerTile: Int

    /// No edge is longer than this.
    private static let longest = 4096

    /// transformers computes Lanczos as Pillow does, and where its torchvision is older than 0.27 a bicubic in its place.
    private var arithmetic: ResampleArithmetic { filter == .lanczos ? .pillow : .torch }

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let edge = longestEdge.map { min($0, longestEdge(options)) }
        // Each step starts from the bytes of the one before, the last tile too, so none can be left to the encoder.
        let picture = edge.map { resized(image, SplitImageProcessor.size(image, longestEdge: $0)) } ?? image
        let canvas = resized(picture, splits ? size(SplitImageProcessor.grid(picture, tile: tile)) : (tile, tile))
        let grid = TileGrid(columns: canvas.width / tile, rows: canvas.height / tile)
        guard grid.count <= 4096 else {
            throw ModelError(
                .unsupportedImage, subject: "image of \(image.width)x\(image.height)",
                detail: "gives \(grid.count) tiles; shrink it")
        }
        let isSplit = grid.count > 1
        let pictures = isSplit ? [canvas, resized(canvas, (tile, tile))] : [canvas]
        let tiles = isSplit ? grid.count + 1 : 1
        return ProcessedImage(
            .pictures(CutPictures(.pictures(pictures), normalization, .tiles(width: tile, height: tile))),
            dimensions: [tiles, 3, tile, tile], tokenCount: tiles * tokensPerTile, tileGrid: isSplit ? grid : nil)
    }

    func mostRows(_ options: ImageOptions) -> Int {
        guard splits else { return 1 }
        let side = (longestEdge.map { min($0, longestEdge(options)) } ?? SplitImageProcessor.longest) / tile + 1
        return side * side + 1
    }

    /// The edge at which a square picture gives at most as many tiles as wanted.
    private func longestEdge(_ options: ImageOptions) -> Int {
        guard let tiles = options.maxTiles else { return SplitImageProcessor.longest }
        return max(1, Int(Double(max(tiles, 1)).squareRoot())) * tile
    }

    private func resized(_ image: RGBImage, _ size: (width: Int, height: Int)) -> RGBImage {
        resize(image, width: size.width, height: size.height, filter: filter, arithmetic: arithmetic)
    }

    private func size(_ grid: TileGrid) -> (width: Int, height: Int) { (grid.columns * tile, grid.rows * tile) }

    /// The longer edge becomes `edge`; the other follows and is made even.
    private static func size(_ image: RGBImage, longestEdge edge: Int) -> (width: Int, height: Int) {
        let ratio = Double(image.width) / Double(image.height)
        var (width, height) = (edge, edge)
        if image.width >= image.height {
            height = Int(Double(edge) / ratio)
            height += height % 2
        } else {
            width = Int(Double(edge) * ratio)
            width += width % 2
        }
        return (max(width, 1), max(height, 1))
    }

    /// Tiles that cover the picture once each edge is rounded up, the longer first.
    private static func grid(_ image: RGBImage, tile: Int) -> TileGrid {
        func tiles(_ edge: Int) -> Int { (edge + tile - 1) / tile }
        let ratio = Double(image.width) / Double(image.height)
        if image.width >= image.height {
            let columns = tiles(image.width)
            return TileGrid(columns: columns, rows: max(1, tiles(Int(Double(columns * tile) / ratio))))
        }
        let rows = tiles(image.height)
        return TileGrid(columns: max(1, tiles(Int(Double(rows * tile) * ratio))), rows: rows)
    }
}

extension SplitImageProcessor {
    init(_ checkpoint: Checkpoint, tower: TileTowerConfig, tokensPerTile: Int) throws {
        let config = try PreprocessorConfig(checkpoint)
        let file = config.reader?.file ?? checkpoint.config.file
        let size = try config.size("size", default: .longestEdge(4 * 364), squares: false)
        let largest = try config.size("max_image_size", default: .longestEdge(364), squares: false)
        guard case .longestEdge(let edge) = size, largest == .longestEdge(tower.tileSize) else {
            throw ModelError(
                .configuration, subject: file,
                detail:
                    "size \(size) and max_image_size \(largest) do not give the tiles of \(tower.tileSize) pixels that the vision "
                    + "tower takes")
        }
        longestEdge = try config.bool("do_resize", default: true) ? min(edge, SplitImageProcessor.longest) : nil
        tile = tower.tileSize
        splits = try config.bool("do_image_splitting", default: true)
        filter = try config.filter(default: .lanczos)
        normalization = try config.normalization(mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5])
        self.tokensPerTile = tokensPerTile
    }
}
