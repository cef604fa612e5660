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
            image.pictures.map { picture in
                defer { next += picture.width * picture.height }
                return Place(start: next, width: picture.width, height: picture.height)
            }
        }
        guard next <= Int(Int32.max) else {
            throw ModelError(
                .unsupportedImage, subject: "images of one pass", detail: "have \(next) pixels together; encode fewer at once")
        }
        pixels = try context.upload(pictures.flatMap { $0.pictures.map(\.pixels) })
        samples = try context.upload(normalization.table, shape: Shape(3, 256))
    }

    /// Patches as rows `[T, 3 · frames · patch · patch]` of activations.
    ///
    /// - Parameter corners: for each row the first pixel of its patch, or -1 for zeros, and the pixels in a line of its picture.
    func rows(_ corners: [Int32], patchSize: Int, frames: Int, context: ForwardContext) throws -> Tensor {
        let count = corners.count / 2
        let rows = try context.activations(Shape(count, 3 * frames * patchSize * patchSize))
        let places = try context.upload(corners).reshaped(Shape(count, 2))
        try context.backend.patchRows(
            pixels, samples: samples, corners: places, patchSize: patchSize, frames: frames, into: rows)
        return rows
    }
}
