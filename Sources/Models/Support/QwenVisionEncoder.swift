import Layers
import Tensors

/// The vision tower of Qwen2-VL, Qwen2.5-VL and Qwen3-VL with its patch mergers, over images of any sizes at once.
final class QwenVisionEncoder: VisionEncoder {
    private let config: QwenVisionConfig
    private let patchEmbedding: LinearWeight
    private let blocks: [VisionBlock]
    private let merger: Connector
    /// Of the blocks whose outputs become features too.
    private let stackedMergers: [Connector]
    private let positions: PositionGrid?
    private let rotary: GridRotary
    let parameterCount: Int

    init(_ config: QwenVisionConfig, _ scope: LayerScope) throws {
        let before = scope.loader.parameterCount
        self.config = config
        patchEmbedding = try scope.linear(
            "patch_embed.proj", in: config.patchFeatures, out: config.width, bias: config.patchBias,
            kernel: [config.channels, config.temporalPatchSize, config.patchSize, config.patchSize])
        blocks = try (0..<config.layers).map { try VisionBlock(scope["blocks"][$0], config.block) }
        positions = try config.positionSide.map { try PositionGrid(scope, "pos_embed.weight", side: $0, width: config.width) }
        merger = try Connector(scope["merger"], in: config.width, steps: config.mergerSteps(normsMerged: false))
        stackedMergers = try config.stackedBlocks.indices.map {
            try Connector(scope["deepstack_merger_list"][$0], in: config.width, steps: config.mergerSteps(normsMerged: true))
        }
        rotary = try GridRotary(headSize: config.width / config.heads, theta: config.theta, backend: scope.loader.backend)
        parameterCount = scope.loader.parameterCount - before
    }

    var featureSize: Int { config.outputWidth * (1 + stackedMergers.count) }

    func encode(_ images: [ProcessedImage], context: ForwardContext, into features: [Tensor]) throws {
        try check(images, features)
        let layout = PatchLayout(grids: images.map(\.grid), merge: config.mergeSize, window: config.window?.side)
        try context.workspace.scope {
            let x = try context.activations(Shape(layout.rows.count, config.width))
            try context.workspace.scope {
                try context.backend.linear(
                    try patches(images, layout, context: context), patchEmbedding, epilogue: .store, into: x)
            }
            try positions?.add(to: x, layout, grids: images.map(\.grid), context: context)
            let stacked = features.map { StackedFeatures($0, width: config.outputWidth) }
            let tables = try rotary.upload(rows: layout.rows, columns: layout.columns, context: context)
            let frames = try Segments(layout.frames, context: context)
            let windows = config.window == nil ? frames : try Segments(layout.windows, context: context)
            for (index, block) in blocks.enumerated() {
                let whole = config.window?.fullLayers.contains(index) ?? true
                try block.forward(x, segments: whole ? frames : windows, rotary: tables, context: context)
                if let place = config.stackedBlocks.firstIndex(of: index) {
                    try context.workspace.scope {
                        // A merger overwrites what it reads, and the next block reads it too.
                        let copy = try context.activations(x.shape)
                        try context.backend.copy(x, into: copy)
                        try merge(
                            copy, stackedMergers[place], layout, context: context,
                            into: stacked.compactMap { $0.addition(afterLayer: place) })
                    }
                }
            }
            try merge(x, merger, layout, context: context, into: stacked.map(\.embeddings))
        }
    }

    /// Patches of all images in tower order, `[patches, features]`: the reordering costs nothing while they are gathered.
    private func patches(_ images: [ProcessedImage], _ layout: PatchLayout, context: ForwardContext) throws -> Tensor {
        guard let pictures = try UploadedPictures(images, context: context) else {
            return try context.uploadActivations(
                ordered(images, layout), shape: Shape(layout.rows.count, config.patchFeatures))
        }
        let size = config.patchSize
        let block = config.mergeSize * config.mergeSize
        var corners: [Int32] = []
        corners.reserveCapacity(2 * layout.rows.count)
        for (index, places) in pictures.places.enumerated() {
            // One picture, which every frame shows.
            for place in places {
                for patch in layout.images[index] * block..<layout.images[index + 1] * block {
                    let pixel = Int(layout.rows[patch]) * size * place.width + Int(layout.columns[patch]) * size
                    corners.append(Int32(place.start + pixel))
                    corners.append(Int32(place.width))
                }
            }
        }
        return try pictures.rows(corners, patchSize: size, frames: config.temporalPatchSize, context: context)
    }

    /// Patches that came as floats.
    private func ordered(_ images: [ProcessedImage], _ layout: PatchLayout) -> [Float] {
        let block = config.mergeSize * config.mergeSize * config.patchFeatures
        var values: [Float] = []
        values.reserveCapacity(layout.rows.count * config.patchFeatures)
        for (index, image) in images.enumerated() {
            let first = layout.images[index]
            let pixels = image.pixels
            for source in layout.blocks[first..<layout.images[index + 1]] {
                let start = (Int(source) - first) * block
                values.append(contentsOf: pixels[start..<start + block])
            }
        }
        return values
    }

    /// Blocks of patches to feature rows, back in the order of the pixels.
    private func merge(
        _ x: Tensor, _ merger: Connector, _ layout: PatchLayout, context: ForwardContext, into features: [Tensor]
    ) throws {
        let reordered = config.window != nil
        if !reordered, features.count == 1, features[0].isContiguous {
            return try merger(x, into: features[0], context: context)
        }
        // One product for all images, as one image's rows may be too few to fill a GPU.
        let merged = try context.activations(Shape(x.rows / merger.merge, config.outputWidth))
        try merger(x, into: merged, context: context)
        let inverse = reordered ? layout.inverse : []
        for (index, feature) in features.enumerated() {
            let range = layout.images[index]..<layout.images[index + 1]
            if reordered {
                let indices = try context.upload(Array(inverse[range]))
                try context.backend.gatherRows(merged, indices: indices, into: feature)
            } else {
                try context.backend.copy(merged.rows(range), into: feature)
            }
        }
    }

    private func check(_ images: [ProcessedImage], _ features: [Tensor]) throws(ModelError) {
        precondition(images.count == features.count, "one feature tensor per image")
        for (index, image) in images.enumerated() {
            let grid = image.grid
            guard grid.count == 3, grid[1] % config.mergeSize == 0, grid[2] % config.mergeSize == 0,
                image.dimensions == [grid[0] * grid[1] * grid[2], config.patchFeatures],
                features[index].rows == image.tokenCount
            else {
                throw ModelError(
                    .unsupportedImage, subject: "image \(index + 1)",
                    detail: "patches \(image.dimensions) on a grid \(grid) do not fit a tower that takes \(config.patchFeatures) "
                        + "values per patch and merges \(config.mergeSize)x\(config.mergeSize)")
            }
        }
    }
}
