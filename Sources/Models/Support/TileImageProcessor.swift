import Imaging

/// InternVL's image strategy: a grid of square tiles whose shape is close to the picture's, and a thumbnail.
struct TileImageProcessor: ImageProcessor {
    let tiling: InternVLTiling
    let filter: ResampleFilter
    let normalization: Normalization
    /// Feature rows of one tile.
    let tokensPerTile: Int

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let (width, height) = (tiling.tileWidth, tiling.tileHeight)
        let tiling = try tiling(options)
        let sizes = tiling.sizes(width: image.width, height: image.height)
        let tiles = sizes.reduce(0) { $0 + $1.width / width * ($1.height / height) }
        return ProcessedImage(
            .pictures(
                CutPictures(
                    image, targets: sizes.map { ResizeTarget(width: $0.width, height: $0.height) }, filter: filter,
                    arithmetic: tiling.arithmetic, normalization,
                    .tiles(width: width, height: height), options: options)), dimensions: [tiles, 3, height, width],
            tokenCount: tiles * tokensPerTile)
    }

    func mostRows(_ options: ImageOptions) -> Int {
        (options.maxTiles ?? tiling.maxTiles) + (tiling.usesThumbnail ? 1 : 0)
    }

    private func tiling(_ options: ImageOptions) throws(ModelError) -> InternVLTiling {
        guard let maxTiles = options.maxTiles else { return tiling }
        guard maxTiles > 0, maxTiles <= 1024 else {
            throw ModelError(.unsupportedImage, subject: "max tiles", detail: "is \(maxTiles); give a number from 1 to 1024")
        }
        return InternVLTiling(
            form: tiling.form, tileWidth: tiling.tileWidth, tileHeight: tiling.tileHeight,
            minTiles: min(tiling.minTiles, maxTiles), maxTiles: maxTiles, usesThumbnail: tiling.usesThumbnail)
    }
}
