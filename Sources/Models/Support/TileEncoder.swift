import Layers
import Tensors

/// A tower over square tiles and the connector to the language model: InternVL, LLaVA and their kin.
///
/// Tiles are independent, so they run in groups whose activations stay small.
final class TileEncoder: VisionEncoder {
    /// Which rows of a tile become feature rows.
    struct Rows {
        /// Patches per side whose rows lie together, block by block, for a connector that merges them.
        var merge = 1
        /// Feature rows go down the columns first (`ps_version` v1 of the original InternVL).
        var transposed = false
        /// Whether the class token is the first of a tile's feature rows.
        var keepsClassToken = false
    }

    private let tower: TileTower
    private let rows: Rows
    private let connector: Connector
    /// `[1, D]`, what ends a line of features; see ``FeatureLayout/newline``.
    private let newline: Parameter?
    let parameterCount: Int

    private let recorded = RecordedPasses()

    /// Rows of all tiles of a group, at most (but at least one tile): few enough for a processor's caches, enough to fill a GPU.
    private static func rowsPerGroup(_ device: Device) -> Int { device == .cpu ? 4608 : 16640 }
    /// Groups of at most this many rows are replayed where that can be done; larger ones keep a GPU busier than their launches the host.
    private static let recordedRows = 4608

    /// - Parameters:
    ///   - steps: of the connector, over rows of the tower's features.
    ///   - newline: full name of the row that ends lines, for images with a ``FeatureLayout``.
    init(
        _ config: TileTowerConfig, tower scope: LayerScope, rows: Rows = Rows(), connector: LayerScope, steps: [ConnectorStep],
        newline: String? = nil
    ) throws {
        let before = scope.loader.parameterCount
        tower = try TileTower(config, scope)
        self.rows = rows
        self.connector = try Connector(connector, in: config.featureWidth, steps: steps)
        let width = self.connector.outputWidth
        let loader = scope.loader
        self.newline = try newline.map { name in
            let row = try loader.root.host(name, [width])
            return try loader.root.parameter(row, dtype: loader.backend.activationType)
        }
        precondition(self.connector.merge == rows.merge * rows.merge, "the connector merges other rows than lie together")
        parameterCount = scope.loader.parameterCount - before
    }

    private var config: TileTowerConfig { tower.config }
    var featureSize: Int { connector.outputWidth }
    /// Feature rows of one tile.
    var tokensPerTile: Int { config.tokens(rows) }

    func encode(_ images: [ProcessedImage], context: ForwardContext, into features: [Tensor]) throws {
        try check(images, features)
        let tiles = images.enumerated().flatMap { index, image in (0..<image.dimensions[0]).map { (image: index, tile: $0) } }
        let group = max(1, TileEncoder.rowsPerGroup(context.backend.device) / config.rowsPerTile)
        try context.workspace.scope {
            let gathered = images.contains { $0.layout != nil } ? try Gathering(tiles: tiles.count, self, context) : nil
            let targets = gathered.map { $0.parts(images) } ?? features
            for first in stride(from: 0, to: tiles.count, by: group) {
                let part = Array(tiles[first..<min(first + group, tiles.count)])
                try context.workspace.scope { try encode(part, of: images, context: context, into: targets) }
            }
            try gathered?.gather(images, context: context, into: features)
        }
    }

    /// Features of all tiles before some of them become features of images.
    private struct Gathering {
        /// `[tiles · tokens + 1, D]`, the newline last.
        private let rows: Tensor
        private let tokens: Int

        init(tiles: Int, _ encoder: TileEncoder, _ context: ForwardContext) throws {
            tokens = encoder.tokensPerTile
            rows = try context.activations(Shape(tiles * tokens + 1, encoder.featureSize))
            if let newline = encoder.newline {
                let row = newline.tensor.reshaped(Shape(1, encoder.featureSize))
                try context.backend.copy(row, into: rows.rows(tiles * tokens..<tiles * tokens + 1))
            }
        }

        /// Rows of the tiles of each image.
        private func ranges(_ images: [ProcessedImage]) -> [Range<Int>] {
            var first = 0
            return images.map { image in
                defer { first += image.dimensions[0] * tokens }
                return first..<first + image.dimensions[0] * tokens
            }
        }

        /// Where the tiles of each image go.
        func parts(_ images: [ProcessedImage]) -> [Tensor] { ranges(images).map { rows.rows($0) } }

        func gather(_ images: [ProcessedImage], context: ForwardContext, into features: [Tensor]) throws {
            for (range, (image, out)) in zip(ranges(images), zip(images, features)) {
                if let layout = image.layout {
                    try gather(layout, from: Int32(range.lowerBound), context: context, into: out)
                } else {
                    try context.backend.copy(rows.rows(range), into: out)
                }
            }
        }

        private func gather(_ layout: FeatureLayout, from first: Int32, context: ForwardContext, into out: Tensor) throws {
            let newline = Int32(rows.rows - 1)
            let places = layout.indices.map { $0 == FeatureLayout.newline ? newline : first + $0 }
            guard let differences = layout.differences else {
                return try context.backend.gatherRows(rows, indices: try context.upload(places), into: out)
            }
            // The first row of each sum, then what the sum adds to it.
            let taps = FeatureLayout.taps
            let starts = stride(from: 0, to: places.count, by: taps).map { places[$0] }
            try context.backend.gatherRows(rows, indices: try context.upload(starts), into: out)
            try context.backend.addRows(
                rows, indices: try context.upload(places).reshaped(Shape(layout.count, taps)),
                weights: try context.upload(differences, shape: Shape(layout.count, taps)), into: out)
        }
    }

    /// Encodes a group. What depends on its images comes after the memory of the tower, so that every group of as many tiles finds that
    /// in the same place.
    ///
    /// - Parameter features: for each image, the features of all its tiles.
    private func encode(
        _ tiles: [(image: Int, tile: Int)], of images: [ProcessedImage], context: ForwardContext, into features: [Tensor]
    ) throws {
        let (count, backend) = (tiles.count, context.backend)
        let x = try context.activations(Shape(count * config.rowsPerTile, config.width))
        let projected = try context.activations(Shape(count * tokensPerTile, featureSize))
        let segments = try Segments((0...count).map { Int32($0 * config.rowsPerTile) }, context: context)
        let order = try featureRows(tiles: count).map { try context.upload($0) }
        try tower.embed(tiles, of: images, context: context, into: x)
        func run() throws {
            try context.workspace.scope {
                try project(x, segments: segments, order: order, context: context, into: projected)
            }
        }
        if x.rows <= TileEncoder.recordedRows {
            try recorded.run(shape: [count], place: x, on: backend, run)
        } else {
            try run()
        }
        let tokens = tokensPerTile
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

    /// Embedded tiles to feature rows `projected [tiles · tokens, featureSize]`; `x` is overwritten.
    private func project(
        _ x: Tensor, segments: Segments, order: Tensor?, context: ForwardContext, into projected: Tensor
    ) throws {
        var features = try tower.features(x, segments: segments, context: context)
        if let order {
            let ordered = try context.activations(Shape(order.count, config.featureWidth))
            try context.backend.gatherRows(features, indices: order, into: ordered)
            features = ordered
        }
        try connector(features, into: projected, context: context)
    }

    /// For each row the connector reads, its row of the tower: pixel shuffle and dropping the class token as one gather. nil when all are
    /// read in order.
    private func featureRows(tiles: Int) -> [Int32]? {
        let (side, merge, first) = (config.side, rows.merge, config.classTokens)
        if merge == 1, !rows.transposed, first == 0 || rows.keepsClassToken { return nil }
        var indices: [Int32] = []
        for tile in 0..<tiles {
            let firstPatch = tile * config.rowsPerTile + first
            if rows.keepsClassToken { indices.append(Int32(firstPatch - 1)) }
            for a in 0..<side / merge {
                for b in 0..<side / merge {
                    let (row, column) = rows.transposed ? (b, a) : (a, b)
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
                features[index].rows == image.layout?.count ?? image.dimensions[0] * tokensPerTile
            else {
                throw ModelError(
                    .unsupportedImage, subject: "image \(index + 1)",
                    detail: "pixels \(image.dimensions) are not tiles of \(config.tileSize)x\(config.tileSize)")
            }
        }
    }
}
