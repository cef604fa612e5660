import Checkpoints
import Imaging

/// The picture squeezed into one tile, then tiles of a canvas that it is fitted into (LLaVA-NeXT).
///
/// Transformers 5.17.0 `image_processing_llava_next.py`, and `pack_image_features` of `modeling_llava_next.py` for the features.
struct AnyResImageProcessor: ImageProcessor {
    let resolution: AnyResolution
    let filter: ResampleFilter
    let arithmetic: ResampleArithmetic
    let normalization: Normalization
    /// Feature rows along a side of a tile.
    let side: Int

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let tile = resolution.tile
        let canvas = resolution.canvas(width: image.width, height: image.height)
        let targets = [
            ResizeTarget(width: tile, height: tile), resolution.target(width: image.width, height: image.height, on: canvas),
        ]
        let layout = layout(of: image, on: canvas)
        return ProcessedImage(
            .pictures(
                CutPictures(
                    image, targets: targets, filter: filter, arithmetic: arithmetic, normalization,
                    .tiles(width: tile, height: tile), options: options)), dimensions: [1 + canvas.count, 3, tile, tile],
            tokenCount: layout.count, layout: layout)
    }

    func mostRows(_ options: ImageOptions) -> Int { 1 + (resolution.canvases.map(\.count).max() ?? 0) }

    /// The tile of the whole, then the lines of the canvas that show the picture, each with a newline.
    private func layout(of image: RGBImage, on canvas: TileGrid) -> FeatureLayout {
        var layout = FeatureLayout()
        let tokens = side * side
        layout.append(0..<tokens)
        let shown = AnyResolution.shown(
            width: image.width, height: image.height, columns: canvas.columns * side, rows: canvas.rows * side)
        for row in shown.rows {
            for column in shown.columns {
                let tile = 1 + row / side * canvas.columns + column / side
                layout.append(tile * tokens + row % side * side + column % side)
            }
            layout.appendNewline()
        }
        return layout
    }
}

extension AnyResImageProcessor {
    /// By preprocessor_config.json, whose canvases must be those of config.json.
    init(_ checkpoint: Checkpoint, tower: TileTowerConfig, defaultCanvases: [[Int]]) throws {
        let config = try PreprocessorConfig(checkpoint)
        let file = config.reader?.file ?? checkpoint.config.file
        let tile = tower.tileSize
        let canvases = try config.reader?.canvases("image_grid_pinpoints", tile: tile, default: defaultCanvases)
        let model = try checkpoint.config.canvases("image_grid_pinpoints", tile: tile, default: defaultCanvases)
        guard canvases ?? model == model else {
            throw ModelError(.configuration, subject: file, detail: "image_grid_pinpoints are not those of config.json")
        }
        let size = try config.size("size", default: .square(tile), squares: false)
        let crop = try config.size("crop_size", default: .square(tile), squares: true)
        guard [.square(tile), .shortestEdge(tile)].contains(size), crop == .square(tile),
            try config.bool("do_resize", default: true)
        else {
            throw ModelError(
                .configuration, subject: file,
                detail: "size \(size) and crop_size \(crop) do not give the tiles of \(tile) pixels that the vision tower takes")
        }
        resolution = AnyResolution(tile: tile, canvases: model)
        filter = try config.filter(default: .bicubic)
        arithmetic = .torch
        normalization = try config.normalization(mean: Normalization.clipMean, std: Normalization.clipStd)
        side = tower.side
    }
}

extension ConfigReader {
    /// `[[height, width], …]` in pixels, as grids of tiles.
    fileprivate func canvases(_ key: String, tile: Int, default fallback: [[Int]]) throws -> [TileGrid] {
        let pairs = isNull(key) || !has(key) ? fallback : try listOfInts(key)
        guard !pairs.isEmpty, pairs.count <= 1024 else {
            throw invalid(key, "has \(pairs.count) entries, 1 to 1024 are possible")
        }
        return try pairs.map { pair in
            guard pair.count == 2, pair.allSatisfy({ $0 > 0 && $0 <= 64 * tile && $0.isMultiple(of: tile) }) else {
                throw invalid(key, "has \(pair), two multiples of the tile's \(tile) pixels are needed, at most \(64 * tile)")
            }
            return TileGrid(columns: pair[1] / tile, rows: pair[0] / tile)
        }
    }
}
