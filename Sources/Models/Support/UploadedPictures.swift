import Imaging
import Layers
import Tensors

/// The 8-bit pictures of several images in the workspace, from which a vision encoder takes its patches.
struct UploadedPictures {
    /// A picture among all pixels.
    struct Place {
        /// Its first pixel.
        let start: Int
        let width: Int
        let height: Int
    }

    private let pixels: Tensor
    private let samples: Tensor
    /// The pictures of each image.
    let places: [[Place]]

    /// - Returns: nil when an image has floats only.
    /// - Throws: ``ModelError`` when the images are normalised differently or have too many pixels together.
    init?(_ images: [ProcessedImage], context: ForwardContext) throws {
        var pictures: [CutPictures] = []
        for image in images {
            guard case .pictures(let each) = image.content else { return nil }
            pictures.append(each)
        }
        guard let normalization = pictures.first?.normalization else { return nil }
        guard pictures.allSatisfy({ $0.normalization == normalization }) else {
            throw ModelError(
                .unsupportedImage, subject: "images of one pass", detail: "are normalised differently; encode them one by one")
        }
        var next = 0
        places = pictures.map { image in
            image.sizes.map { size in
                defer { next += size.width * size.height }
                return Place(start: next, width: size.width, height: size.height)
            }
        }
        guard next <= Int(Int32.max) else {
            throw ModelError(
                .unsupportedImage, subject: "images of one pass", detail: "have \(next) pixels together; encode fewer at once")
        }
        samples = try context.upload(normalization.table, shape: Shape(3, 256))
        pixels = try context.workspace.allocate(Shape(3 * next), dtype: .uint8)
        for (image, places) in zip(pictures, places) {
            let targets = places.map { place in
                pixels.rows(3 * place.start..<3 * (place.start + place.width * place.height))
            }
            switch image.source {
            case .pictures(let pictures):
                for (picture, target) in zip(pictures, targets) { try context.upload(picture.pixels, to: target) }
            case .pending(let resize):
                try UploadedPictures.resize(resize, context: context, into: targets)
            }
        }
    }

    /// Resizes on the device, in memory that the next picture uses again.
    private static func resize(_ resize: PendingResize, context: ForwardContext, into targets: [Tensor]) throws {
        let source = resize.source
        try context.workspace.scope {
            let whole = try context.workspace.allocate(Shape(source.pixels.count), dtype: .uint8)
            try context.upload(source.pixels, to: whole)
            for (target, out) in zip(resize.targets, targets) {
                try context.workspace.scope {
                    var picture = whole
                    if let axis = target.horizontal {
                        let narrowed =
                            target.vertical == nil
                            ? out : try context.workspace.allocate(Shape(3 * source.height * target.width), dtype: .uint8)
                        try resample(
                            picture.reshaped(Shape(source.height, source.width, 3)), axis, context: context,
                            into: narrowed.reshaped(Shape(source.height, target.width, 3)))
                        picture = narrowed
                    }
                    if let axis = target.vertical {
                        try resample(
                            picture.reshaped(Shape(1, source.height, 3 * target.width)), axis, context: context,
                            into: out.reshaped(Shape(1, target.height, 3 * target.width)))
                    } else if target.horizontal == nil {
                        try context.backend.copy(whole, into: out)
                    }
                }
            }
        }
    }

    private static func resample(
        _ source: Tensor, _ axis: ResampleTable, context: ForwardContext, into out: Tensor
    ) throws {
        let starts = try context.upload(axis.starts)
        let weights = try context.upload(axis.weights).reshaped(Shape(axis.starts.count, axis.taps))
        try context.backend.resample(source, starts: starts, weights: weights, precision: axis.precision, into: out)
    }

    /// Patches as rows `[T, 3 · frames · patch · patch]` of activations.
    ///
    /// - Parameter corners: for each row the first pixel of its patch, or -1 for zeros, and the pixels in a line of its picture.
    func rows(_ corners: [Int32], patchSize: Int, frames: Int, context: ForwardContext) throws -> Tensor {
        let count = corners.count / 2
        let width = 3 * frames * patchSize * patchSize
        // Rows begin at multiples of 16 bytes whatever the type, as weights do.
        let rows = try context.activations(Shape(count, (width + 7) / 8 * 8)).columns(0..<width)
        let places = try context.upload(corners).reshaped(Shape(count, 2))
        try context.backend.patchRows(
            pixels, samples: samples, corners: places, patchSize: patchSize, frames: frames, into: rows)
        return rows
    }
}
