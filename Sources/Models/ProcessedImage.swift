package import Imaging

/// What a family's image strategy makes of one user image, on the host.
package struct ProcessedImage: Sendable, Equatable {
    /// What the vision encoder starts from.
    package enum Content: Sendable, Equatable {
        /// ``ProcessedImage/pixels`` themselves, of strategies that compute with floats.
        case pixels([Float])
        /// 8-bit pictures: a quarter of the bytes, normalised and cut where the encoder runs.
        case pictures(CutPictures)
    }

    package let content: Content
    /// Shape of ``pixels``: Qwen `[patches, 3 · temporal · patch · patch]`, InternVL `[tiles, 3, S, S]`.
    package let dimensions: [Int]
    /// Patches of the image as `[t, h, w]` (the reference's `image_grid_thw`); empty for families without a grid.
    package let grid: [Int]
    /// Feature rows, which is the number of placeholder tokens.
    package let tokenCount: Int
    /// How the features of tiles become those of the image; nil when they follow each other.
    package let layout: FeatureLayout?
    /// The grid that the tiles but the last make up, where the prompt tells; nil for one tile.
    package let tileGrid: TileGrid?

    package init(pixels: [Float], dimensions: [Int], grid: [Int] = [], tokenCount: Int) {
        self.init(.pixels(pixels), dimensions: dimensions, grid: grid, tokenCount: tokenCount)
    }

    package init(
        _ content: Content, dimensions: [Int], grid: [Int] = [], tokenCount: Int, layout: FeatureLayout? = nil,
        tileGrid: TileGrid? = nil
    ) {
        self.content = content
        self.dimensions = dimensions
        self.grid = grid
        self.tokenCount = tokenCount
        self.layout = layout
        self.tileGrid = tileGrid
    }

    /// The same image with its pixels as floats.
    package func with(pixels: [Float]) -> ProcessedImage {
        ProcessedImage(
            .pixels(pixels), dimensions: dimensions, grid: grid, tokenCount: tokenCount, layout: layout, tileGrid: tileGrid)
    }

    /// Tiles of families that cut images into tiles, the thumbnail included; 1 in families of native resolution.
    package var tileCount: Int { grid.isEmpty ? dimensions.first ?? 1 : 1 }

    /// Bytes of host memory.
    package var byteCount: Int {
        switch content {
        case .pixels(let pixels): 4 * pixels.count
        case .pictures(let pictures): pictures.byteCount
        }
    }

    /// Bytes of workspace that getting the image ready on the device takes, which its dimensions do not tell.
    package var pendingBytes: Int {
        let places = layout.map { ($0.byteCount / 256 + 2) * 256 } ?? 0
        return if case .pictures(let pictures) = content { places + pictures.pendingBytes } else { places }
    }

    /// The reference's `pixel_values` rows of this image, row-major.
    package var pixels: [Float] {
        switch content {
        case .pixels(let pixels): pixels
        case .pictures(let pictures): pictures.pixels
        }
    }
}

/// What a user may change about image preprocessing; nil leaves the checkpoint's value.
package struct ImageOptions: Sendable, Equatable {
    /// Upper bound on tiles of families that cut images into tiles; the thumbnail is not counted.
    package var maxTiles: Int?
    /// Bounds on the pixels after resizing, of families with native resolution.
    package var minPixels: Int?
    package var maxPixels: Int?

    /// Pictures in the prompt; some families look less closely at each when there are several.
    package var pictureCount = 1

    /// Whether a picture may be handed to the vision encoder before it is resized, because that runs on a faster device.
    package var leavesResizing = false

    package init(maxTiles: Int? = nil, minPixels: Int? = nil, maxPixels: Int? = nil) {
        self.maxTiles = maxTiles
        self.minPixels = minPixels
        self.maxPixels = maxPixels
    }
}

/// A family's image strategy: pure computation on the CPU, safe to run on any thread.
package protocol ImageProcessor: Sendable {
    /// Resizes, tiles and normalises one decoded image.
    ///
    /// - Throws: ``ModelError`` of kind `unsupportedImage` naming the sizes, or an error of `Imaging`.
    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage
    /// The most rows (patches or tiles, the first of ``ProcessedImage/dimensions``) any picture can become, for the memory plan.
    func mostRows(_ options: ImageOptions) -> Int
    /// Whether pictures become something else when there are several, so that one that was alone must be processed again.
    var dependsOnPictureCount: Bool { get }
}

extension ImageProcessor {
    package var dependsOnPictureCount: Bool { false }
}
