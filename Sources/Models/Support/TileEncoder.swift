import Layers
import Tensors

/// InternViT and its connector in numbers and names.
struct TileEncoderConfig {
    var width: Int
    /// Blocks to run: features may be taken before the last.
    var layers: Int
    /// Blocks in the file.
    var fileLayers: Int
    var patchSize: Int
    /// Side of a tile in pixels, and of the tiles that the position table was made for.
    var tileSize: Int
    var tableSize: Int
    var block: VisionBlockConfig
    /// Patches per side that become one feature row.
    var merge: Int
    /// Feature rows go down the columns first (`ps_version` v1 of the original code).
    var transposed = false
    var outputWidth: Int
    var connectorActivation = Activation.gelu

    // Names below the tower's scope and the connector's.
    var classToken: String
    /// nil when the tower has no position table.
    var positionTable: String?
    var patchEmbedding: String
    var blocks: String
    /// Name and epsilon of a layer norm after the last block.
    var finalNorm: (name: String, epsilon: Float)?
    var connector: (norm: String, first: String, second: String)

    /// Patches per side of a tile.
    var side: Int { tileSize / patchSize }
    var tokensPerTile: Int { (side / merge) * (side / merge) }
}

/// InternViT over square tiles, pixel shuffle and MLP: both published forms of InternVL.
///
/// Tiles are independent, so they run in groups whose activations stay small.
final class TileEncoder: VisionEncoder {
    private let config: TileEncoderConfig
    /// Without its bias, which is in `start`: so a row of zeros leaves the class token as it is, and all rows of all tiles are one product.
    private let patchEmbedding: LinearWeight
    /// `[1 + patches, D]`: the class token with its position, then the positions of the patches with the bias of their embedding.
    private let start: Parameter
    private let blocks: [VisionBlock]
    private let finalNorm: Norm?
    private let connector: Connector
    let parameterCount: Int

    private let recorded = RecordedPasses()

    /// Rows of all tiles of a group, at most (but at least one tile): few enough for a processor's caches, enough to fill a GPU.
    private static func rowsPerGroup(_ device: Device) -> Int { device == .cpu ? 4608 : 16640 }
    /// Groups of at most this many rows are replayed where that can be done; larger ones keep a GPU busier than their launches the host.
    private static let recordedRows = 4608

    init(_ config: TileEncoderConfig, tower: LayerScope, connector scope: LayerScope) throws {
        let loader = tower.loader
        let before = loader.parameterCount
        self.config = config
        patchEmbedding = try tower.linear(
            config.patchEmbedding, in: 3 * config.patchSize * config.patchSize, out: config.width, bias: false,
            kernel: [3, config.patchSize, config.patchSize])
        start = try TileEncoder.startTable(config, tower)
        blocks = try (0..<config.layers).map { try VisionBlock(tower[config.blocks][$0], config.block) }
        for unused in config.layers..<config.fileLayers { loader.ignore(tower[config.blocks][unused].prefix) }
        finalNorm = try config.finalNorm.map { try Norm(.layer, tower, $0.name, size: config.width, epsilon: $0.epsilon) }
        connector = try Connector(
            scope, norm: (config.connector.norm, .layer, 1e-5), span: .merged, first: config.connector.first,
            second: config.connector.second, activation: config.connectorActivation, in: config.width,
            merge: config.merge * config.merge, hidden: config.outputWidth, out: config.outputWidth)
        parameterCount = loader.parameterCount - before
    }

    /// What rows hold before patches are added, as one table.
    private static func startTable(_ config: TileEncoderConfig, _ tower: LayerScope) throws -> Parameter {
        let width = config.width
        let bias = try tower.host("\(config.patchEmbedding).bias", [width]).floats()
        var table = try tower.host(config.classToken, [1, 1, width]).floats()
        if let name = config.positionTable {
            let trained = config.tableSize / config.patchSize
            let positions = try tower.host(name, [1, 1 + trained * trained, width]).floats()
            for column in 0..<width { table[column] += positions[column] }
            table += BicubicGrid.resized(Array(positions[width...]), side: trained, channels: width, newSide: config.side)
        } else {
            table += [Float](repeating: 0, count: config.side * config.side * width)
        }
        let rows = 1 + config.side * config.side
        for row in 1..<rows {
            for column in 0..<width { table[row * width + column] += bias[column] }
        }
        return try tower.parameter(
            HostTensor(name: tower.full("positions"), dimensions: [rows, width], floats: table), dtype: .float32)
    }

    var featureSize: Int { config.outputWidth }

    func encode(_ images: [ProcessedImage], context: ForwardContext, into features: [Tensor]) throws {
        try check(images, features)
        let tiles = images.enumerated().flatMap { index, image in (0..<image.dimensions[0]).map { (image: index, tile: $0) } }
        let group = max(1, TileEncoder.rowsPerGroup(context.backend.device) / rowsPerTile)
        for first in stride(from: 0, to: tiles.count, by: group) {
            let part = Array(tiles[first..<min(first + group, tiles.count)])
            try context.workspace.scope { try encode(part, of: images, context: context, into: features) }
        }
    }

    private var rowsPerTile: Int { 1 + config.side * config.side }

    /// Encodes a group. What depends on its images comes after the memory of the tower, so that every group of as many tiles finds that
    /// in the same place.
    private func encode(
        _ tiles: [(image: Int, tile: Int)], of images: [ProcessedImage], context: ForwardContext, into features: [Tensor]
    ) throws {
        let (count, backend) = (tiles.count, context.backend)
        let x = try context.activations(Shape(count * rowsPerTile, config.width))
        let projected = try context.activations(Shape(count * config.tokensPerTile, config.outputWidth))
        let segments = try Segments((0...count).map { Int32($0 * rowsPerTile) }, context: context)
        let merging = try context.upload(shuffle(tiles: count))
        try embed(tiles, of: images, context: context, into: x)
        func tower() throws {
            try context.workspace.scope {
                try encode(x, segments: segments, merging: merging, context: context, into: projected)
            }
        }
        if x.rows <= TileEncoder.recordedRows {
            try recorded.run(shape: [count], place: x, on: backend, tower)
        } else {
            try tower()
        }
        let tokens = config.tokensPerTile
        var first = 0
        while first < count {
            // Tiles of one image lie together, here and in its features.
            let (image, tile) = tiles[first]
            var end = first + 1
            while end < count, tiles[end].image == image { end += 1 }
            try backend.copy(
                projected.rows(first * tokens..<end * tokens),
                into: features[image].rows(tile * tokens..<(tile + end - first) * tokens))
            first = end
        }
    }

    /// Patch embeddings with positions into `x [tiles · (1 + patches), D]`.
    private func embed(
        _ tiles: [(image: Int, tile: Int)], of images: [ProcessedImage], context: ForwardContext, into x: Tensor
    ) throws {
        try context.workspace.scope {
            let indices = try context.upload(tiles.flatMap { _ in 0..<Int32(rowsPerTile) })
            try context.backend.gatherRows(start.tensor, indices: indices, into: x)
        }
        try context.workspace.scope {
            // Patches with zeros for the class tokens.
            let patches: Tensor
            let shown = tiles[0].image...tiles[tiles.count - 1].image
            if let pictures = try UploadedPictures(Array(images[shown]), context: context) {
                let places = tilePlaces(pictures).dropFirst(tiles[0].tile).prefix(tiles.count)
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
        var corners: [Int32] = [-1, 0]
        corners.reserveCapacity(2 + 2 * side * side)
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
        let values = tiles.flatMap { [Float](repeating: 0, count: features) + pixelRows($0.image, tile: $0.tile) }
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

    /// Embedded tiles to feature rows `projected [tiles · tokens, outputWidth]`; `x` is overwritten.
    private func encode(
        _ x: Tensor, segments: Segments, merging: Tensor, context: ForwardContext, into projected: Tensor
    ) throws {
        for block in blocks { try block.forward(x, segments: segments, rotary: nil, context: context) }
        try finalNorm?(x, into: x, backend: context.backend)
        let shuffled = try context.activations(Shape(merging.count, config.width))
        try context.backend.gatherRows(x, indices: merging, into: shuffled)
        try connector.project(try connector.hidden(shuffled, context: context), into: projected, context: context)
    }

    /// For each merged patch of each feature row, its row of the tower: pixel shuffle as one gather, without the class token.
    private func shuffle(tiles: Int) -> [Int32] {
        let (side, merge) = (config.side, config.merge)
        var indices: [Int32] = []
        for tile in 0..<tiles {
            let firstPatch = tile * (1 + side * side) + 1
            for a in 0..<side / merge {
                for b in 0..<side / merge {
                    let (row, column) = config.transposed ? (b, a) : (a, b)
                    for y in 0..<merge {
                        for x in 0..<merge {
                            indices.append(Int32(firstPatch + (row * merge + y) * side + column * merge + x))
                        }
                    }
                }
            }
        }
        return indices
    }

    private func check(_ images: [ProcessedImage], _ features: [Tensor]) throws(ModelError) {
        precondition(images.count == features.count, "one feature tensor per image")
        for (index, image) in images.enumerated() {
            guard image.dimensions.count == 4, Array(image.dimensions.dropFirst()) == [3, config.tileSize, config.tileSize],
                features[index].rows == image.dimensions[0] * config.tokensPerTile
            else {
                throw ModelError(
                    .unsupportedImage, subject: "image \(index + 1)",
                    detail: "pixels \(image.dimensions) are not tiles of \(config.tileSize)x\(config.tileSize)")
            }
        }
    }
}
