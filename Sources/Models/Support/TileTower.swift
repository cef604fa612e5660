import Layers
import Tensors

/// A vision transformer over square tiles in numbers and names: InternViT, CLIP, SigLIP.
struct TileTowerConfig {
    var width: Int
    var patchSize: Int
    /// Side of a tile in pixels, and of the tiles that the position table was made for.
    var tileSize: Int
    var tableSize: Int
    /// Blocks in the file.
    var fileLayers: Int
    /// After how many blocks features are taken; of several, features lie side by side.
    var taps: [Int]
    var block: VisionBlockConfig

    // Names below the tower's scope.
    var patchEmbedding: String
    var patchBias = true
    /// Name and the axes before the last; nil when the tower has no class token.
    var classToken: (name: String, axes: [Int])?
    /// Rows for the class token, if any, and for patches row by row; nil when the tower has no positions.
    var positionTable: (name: String, axes: [Int])?
    /// Layer norms before the first block and after the last.
    var preNorm: (name: String, epsilon: Float)?
    var finalNorm: (name: String, epsilon: Float)?
    var blocks: String
    /// What else such towers hold, that features do not depend on.
    var unused: [String] = []

    /// Patches per side of a tile.
    var side: Int { tileSize / patchSize }
    var classTokens: Int { classToken == nil ? 0 : 1 }
    var rowsPerTile: Int { classTokens + side * side }
    var featureWidth: Int { width * taps.count }
}

/// The tower: tiles to hidden rows, class token first.
final class TileTower {
    let config: TileTowerConfig
    /// Without its bias, which is in `start`: so a row of zeros leaves the class token as it is, and all rows of all tiles are one product.
    private let patchEmbedding: LinearWeight
    /// `[rowsPerTile, D]`: the class token with its position, then the positions of the patches with the bias of their embedding.
    private let start: Parameter
    private let preNorm: Norm?
    private let blocks: [VisionBlock]
    private let finalNorm: Norm?

    init(_ config: TileTowerConfig, _ scope: LayerScope) throws {
        self.config = config
        let loader = scope.loader
        patchEmbedding = try scope.linear(
            config.patchEmbedding, in: 3 * config.patchSize * config.patchSize, out: config.width, bias: false,
            kernel: [3, config.patchSize, config.patchSize])
        start = try TileTower.startTable(config, scope)
        let run = config.taps.max() ?? 0
        blocks = try (0..<run).map { try VisionBlock(scope[config.blocks][$0], config.block) }
        func norm(_ norm: (name: String, epsilon: Float)) throws -> Norm {
            try Norm(.layer, scope, norm.name, size: config.width, epsilon: norm.epsilon)
        }
        preNorm = try config.preNorm.map(norm)
        finalNorm = try config.finalNorm.map(norm)
        for unused in run..<config.fileLayers { loader.ignore(scope[config.blocks][unused].prefix) }
        for name in config.unused { loader.ignore(scope.full(name)) }
    }

    /// What rows hold before patches are added, as one table.
    private static func startTable(_ config: TileTowerConfig, _ scope: LayerScope) throws -> Parameter {
        let (width, first) = (config.width, config.classTokens)
        var table = try config.classToken.map { try scope.host($0.name, $0.axes + [width]).floats() } ?? []
        if let (name, axes) = config.positionTable {
            let trained = config.tableSize / config.patchSize
            let positions = try scope.host(name, axes + [first + trained * trained, width]).floats()
            for column in 0..<first * width { table[column] += positions[column] }
            table += BicubicGrid.resized(
                Array(positions[(first * width)...]), side: trained, channels: width, newSide: config.side)
        } else {
            table += [Float](repeating: 0, count: config.side * config.side * width)
        }
        if config.patchBias {
            let bias = try scope.host("\(config.patchEmbedding).bias", [width]).floats()
            for row in first..<config.rowsPerTile {
                for column in 0..<width { table[row * width + column] += bias[column] }
            }
        }
        return try scope.parameter(
            HostTensor(name: scope.full("positions"), dimensions: [config.rowsPerTile, width], floats: table), dtype: .float32)
    }

    // MARK: Patches

    /// Patch embeddings with positions into `x [tiles · rowsPerTile, D]`.
    ///
    /// - Parameter tiles: consecutive tiles of `images`, each an image and a tile of it.
    func embed(
        _ tiles: [(image: Int, tile: Int)], of images: [ProcessedImage], context: ForwardContext, into x: Tensor
    ) throws {
        try context.workspace.scope {
            let rows = config.rowsPerTile
            let indices = try context.upload((0..<tiles.count * rows).map { Int32($0 % rows) })
            try context.backend.gatherRows(start.tensor, indices: indices, into: x)
        }
        try context.workspace.scope {
            // Patches with zeros for the class tokens.
            let patches: Tensor
            let shown = tiles[0].image...tiles[tiles.count - 1].image
            if let pictures = try UploadedPictures(Array(images[shown]), context: context) {
                let before = tiles[0].tile
                let places = tilePlaces(pictures).dropFirst(before).prefix(tiles.count)
                patches = try pictures.rows(
                    places.flatMap(patchCorners), patchSize: config.patchSize, frames: 1, context: context)
            } else {
                patches = try pixelRows(tiles.map { (images[$0.image], $0.tile) }, context: context)
            }
            try context.backend.linear(patches, patchEmbedding, epilogue: .accumulate, into: x)
        }
    }

    /// Of all tiles, the first pixel and the pixels in a line of the picture.
    private func tilePlaces(_ pictures: UploadedPictures) -> [(corner: Int, line: Int)] {
        let size = config.tileSize
        return pictures.places.joined().flatMap { picture in
            let columns = picture.width / size
            return (0..<columns * (picture.height / size)).map { tile in
                (picture.start + (tile / columns * picture.width + tile % columns) * size, picture.width)
            }
        }
    }

    /// Where the rows of a tile begin: the class token, which has no pixels, then the patches.
    private func patchCorners(_ tile: (corner: Int, line: Int)) -> [Int32] {
        let (patch, side) = (config.patchSize, config.side)
        var corners: [Int32] = config.classTokens == 0 ? [] : [-1, 0]
        corners.reserveCapacity(2 * config.rowsPerTile)
        for top in 0..<side {
            for left in 0..<side {
                corners.append(Int32(tile.corner + top * patch * tile.line + left * patch))
                corners.append(Int32(tile.line))
            }
        }
        return corners
    }

    /// Pixels of tiles that came as floats, planes `[3, S, S]`, patch by patch.
    private func pixelRows(_ tiles: [(image: ProcessedImage, tile: Int)], context: ForwardContext) throws -> Tensor {
        let features = 3 * config.patchSize * config.patchSize
        let blank = [Float](repeating: 0, count: config.classTokens * features)
        let values = tiles.flatMap { blank + pixelRows($0.image, tile: $0.tile) }
        return try context.uploadActivations(values, shape: Shape(values.count / features, features))
    }

    /// Pixels of one tile, patch by patch: `[patches, 3 · patch · patch]` from planes `[3, S, S]`.
    private func pixelRows(_ image: ProcessedImage, tile: Int) -> [Float] {
        let (size, patch, side) = (config.tileSize, config.patchSize, config.side)
        let plane = size * size
        let pixels = image.pixels
        var rows: [Float] = []
        rows.reserveCapacity(3 * side * side * patch * patch)
        for top in 0..<side {
            for left in 0..<side {
                for channel in 0..<3 {
                    let corner = (3 * tile + channel) * plane + top * patch * size + left * patch
                    for line in 0..<patch {
                        rows.append(contentsOf: pixels[corner + line * size..<corner + line * size + patch])
                    }
                }
            }
        }
        return rows
    }

    // MARK: Blocks

    /// Features `[rows, featureWidth]` of embedded tiles `x`, which is overwritten; in `x` or in workspace memory.
    func features(_ x: Tensor, segments: Segments, context: ForwardContext) throws -> Tensor {
        let backend = context.backend
        let several = config.taps.count > 1
        let features = several ? try context.activations(Shape(x.rows, config.featureWidth)) : x
        func tap(after count: Int) throws {
            guard several else { return }
            for (index, tap) in config.taps.enumerated() where tap == count {
                try backend.copy(x, into: features.columns(index * config.width..<(index + 1) * config.width))
            }
        }
        try preNorm?(x, into: x, backend: backend)
        try tap(after: 0)
        for (index, block) in blocks.enumerated() {
            try block.forward(x, segments: segments, rotary: nil, context: context)
            try tap(after: index + 1)
        }
        if !several { try finalNorm?(x, into: x, backend: backend) }
        return features
    }
}
