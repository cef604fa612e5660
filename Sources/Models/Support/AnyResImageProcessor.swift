import Checkpoints
import Imaging

/// The picture squeezed into one tile, then tiles of a canvas that it is fitted into (LLaVA-NeXT, LLaVA-OneVision).
///
/// Transformers 5.17.0 `image_processing_llava_next.py`, `image_processing_llava_onevision.py`, and `pack_image_features` of
/// `modeling_llava_next.py` and `modeling_llava_onevision.py` for the features.
struct AnyResImageProcessor: ImageProcessor {
    let resolution: AnyResolution
    let filter: ResampleFilter
    let arithmetic: ResampleArithmetic
    let normalization: Normalization
    /// Feature rows along a side of a tile.
    let side: Int
    /// Tiles whose features the canvas may have; larger grids shrink. nil for any number.
    var mostTiles: Int?
    /// Colour of the border that makes pictures square where several are in a prompt, each then one tile; nil where all are treated alike.
    var borderAmongOthers: [UInt8]?

    var dependsOnPictureCount: Bool { borderAmongOthers != nil }

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let tile = resolution.tile
        let squeezed = ResizeTarget(width: tile, height: tile)
        if let borderAmongOthers, options.pictureCount > 1 {
            var layout = FeatureLayout()
            layout.append(0..<side * side)
            layout.append(FeatureLayout.newline)
            return processed(image.squared(fill: borderAmongOthers), [squeezed], tiles: 1, layout, options)
        }
        let resolution = try resolution(options)
        let canvas = resolution.canvas(width: image.width, height: image.height)
        let fitted = resolution.target(width: image.width, height: image.height, on: canvas)
        return processed(image, [squeezed, fitted], tiles: 1 + canvas.count, layout(of: image, on: canvas), options)
    }

    private func processed(
        _ image: RGBImage, _ targets: [ResizeTarget], tiles: Int, _ layout: FeatureLayout, _ options: ImageOptions
    ) -> ProcessedImage {
        let tile = resolution.tile
        return ProcessedImage(
            .pictures(
                CutPictures(
                    image, targets: targets, filter: filter, arithmetic: arithmetic, normalization,
                    .tiles(width: tile, height: tile), options: options)), dimensions: [tiles, 3, tile, tile],
            tokenCount: layout.count, layout: layout)
    }

    func mostRows(_ options: ImageOptions) -> Int {
        1 + (((try? resolution(options)) ?? resolution).canvases.map(\.count).max() ?? 0)
    }

    /// Without canvases of more tiles than wanted, but for the smallest.
    private func resolution(_ options: ImageOptions) throws(ModelError) -> AnyResolution {
        guard let most = options.maxTiles else { return resolution }
        try options.validateTiles()
        let least = resolution.canvases.map(\.count).min() ?? 1
        return AnyResolution(tile: resolution.tile, canvases: resolution.canvases.filter { $0.count <= max(most, least) })
    }

    /// The tile of the whole, then the lines of the canvas that show the picture, each with a newline.
    private func layout(of image: RGBImage, on canvas: TileGrid) -> FeatureLayout {
        let tokens = side * side
        let shown = AnyResolution.shown(
            width: image.width, height: image.height, columns: canvas.columns * side, rows: canvas.rows * side)
        func place(_ row: Int, _ column: Int) -> Int {
            let tile = 1 + row / side * canvas.columns + column / side
            return tile * tokens + row % side * side + column % side
        }
        let small = mostTiles.flatMap {
            AnyResolution.shrunk(columns: shown.columns.count, rows: shown.rows.count, most: $0 * tokens)
        }
        var layout = FeatureLayout(blends: small != nil)
        layout.append(0..<tokens)
        guard let small else {
            for row in shown.rows {
                for column in shown.columns { layout.append(Int32(place(row, column))) }
                layout.append(FeatureLayout.newline)
            }
            return layout
        }
        let columns = bilinearTaps(input: shown.columns.count, output: small.columns)
        for vertical in bilinearTaps(input: shown.rows.count, output: small.rows) {
            for horizontal in columns {
                layout.append(
                    [vertical.first, vertical.second].flatMap { line in
                        [horizontal.first, horizontal.second].map { sample in
                            (
                                place(shown.rows.lowerBound + line.index, shown.columns.lowerBound + sample.index),
                                line.weight * sample.weight
                            )
                        }
                    })
            }
            layout.append(FeatureLayout.newline)
        }
        return layout
    }
}

extension ImageOptions {
    func validateTiles() throws(ModelError) {
        guard let maxTiles, !(1...1024).contains(maxTiles) else { return }
        throw ModelError(.unsupportedImage, subject: "max tiles", detail: "is \(maxTiles); give a number from 1 to 1024")
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
    func canvases(_ key: String, tile: Int, default fallback: [[Int]]) throws -> [TileGrid] {
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

    /// N of `anyres_max_N`, nil for another text.
    func mostTiles(_ key: String, default fallback: String) throws -> Int? {
        let text = try string(key, default: fallback)
        guard text.hasPrefix("anyres_max_") else { return nil }
        guard let most = Int(text.dropFirst("anyres_max_".count)), most > 0, most <= 1024 else {
            throw invalid(key, "is \"\(text)\"; anyres_max_N needs a number from 1 to 1024")
        }
        return most
    }
}
