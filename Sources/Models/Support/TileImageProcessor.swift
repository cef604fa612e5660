import Imaging

/// InternVL's image strategy: a grid of square tiles whose shape is close to the picture's, and a thumbnail.
struct TileImageProcessor: ImageProcessor {
    let tiling: InternVLTiling
    let filter: ResampleFilter
    let normalization: Normalization
    /// Feature rows of one tile.
    let tokensPerTile: Int

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let tiles = try tiling(options).tiles(image, filter: filter)
        var pixels: [Float] = []
        pixels.reserveCapacity(tiles.count * 3 * tiling.tileWidth * tiling.tileHeight)
        for tile in tiles { pixels += planar(tile, normalization) }
        return ProcessedImage(
            pixels: pixels, dimensions: [tiles.count, 3, tiling.tileHeight, tiling.tileWidth],
            tokenCount: tiles.count * tokensPerTile)
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
