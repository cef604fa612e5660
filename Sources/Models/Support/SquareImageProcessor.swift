import Checkpoints
import Imaging

/// One square tile per picture, as CLIP and SigLIP read them.
///
/// Transformers 5.17.0 `image_processing_clip.py`, `image_processing_siglip.py`, `image_processing_llava.py`.
struct SquareImageProcessor: ImageProcessor {
    enum Shape {
        /// The shorter edge becomes this long and the middle is kept (CLIP).
        case crop(shortestEdge: Int)
        /// The picture is squeezed into the square, whatever its shape (SigLIP).
        case squeeze
    }

    let side: Int
    let shape: Shape
    /// Colour of the border that makes pictures square before anything else; nil for none.
    let border: [UInt8]?
    let filter: ResampleFilter
    let arithmetic: ResampleArithmetic
    let normalization: Normalization
    /// Feature rows of a picture.
    let tokenCount: Int

    /// No picture is made larger than this on its way.
    private static let mostPixels = 1 << 28

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let image = border.map { image.squared(fill: $0) } ?? image
        return ProcessedImage(
            .pictures(
                CutPictures(
                    image, targets: [try target(image)], filter: filter, arithmetic: arithmetic, normalization,
                    .tiles(width: side, height: side), options: options)), dimensions: [1, 3, side, side], tokenCount: tokenCount)
    }

    func mostRows(_ options: ImageOptions) -> Int { 1 }

    private func target(_ image: RGBImage) throws(ModelError) -> ResizeTarget {
        guard case .crop(let edge) = shape else { return ResizeTarget(width: side, height: side) }
        let (short, long) = (min(image.width, image.height), max(image.width, image.height))
        let stretched = Double(edge * long) / Double(short)
        guard stretched * Double(edge) <= Double(SquareImageProcessor.mostPixels) else {
            throw ModelError(
                .unsupportedImage, subject: "image of \(image.width)x\(image.height)",
                detail: "has a shorter edge of \(short), which must become \(edge); crop the picture")
        }
        let target =
            image.width <= image.height
            ? ResizeTarget(width: edge, height: Int(stretched)) : ResizeTarget(width: Int(stretched), height: edge)
        return target.centered(width: side, height: side)
    }
}

extension RGBImage {
    /// The picture in the middle of a square with the length of its longer edge.
    func squared(fill: [UInt8]) -> RGBImage {
        let side = max(width, height)
        return window(left: -((side - width) / 2), top: -((side - height) / 2), width: side, height: side, fill: fill)
    }
}

extension SquareImageProcessor {
    /// By preprocessor_config.json, whose `image_processor_type` tells CLIP's ways from SigLIP's.
    ///
    /// - Parameter tower: whose tiles the pictures must become.
    init(_ checkpoint: Checkpoint, tower: TileTowerConfig, tokenCount: Int) throws {
        let config = try PreprocessorConfig(checkpoint)
        let file = config.reader?.file ?? checkpoint.config.file
        side = tower.tileSize
        self.tokenCount = tokenCount
        filter = try config.filter(default: .bicubic)
        arithmetic = .torch
        let (mean, std) = config.isSiglip ? ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]) : (Normalization.clipMean, Normalization.clipStd)
        normalization = try config.normalization(mean: mean, std: std)
        border = try config.bool("do_pad", default: false) ? config.borderColor(mean: mean) : nil
        guard try config.bool("do_resize", default: true) else {
            throw ModelError(.configuration, subject: file, detail: "do_resize is false; pictures must have the tower's size")
        }
        let size = try config.size("size", default: .shortestEdge(224), squares: config.isSiglip)
        let crops = try config.bool("do_center_crop", default: !config.isSiglip)
        let cropSize = crops ? try config.size("crop_size", default: .square(224), squares: true) : nil
        switch (size, cropSize) {
        case (.shortestEdge(let edge), .square(side)?): shape = .crop(shortestEdge: edge)
        case (.square(side), nil), (.square(side), .square(side)?): shape = .squeeze
        default:
            throw ModelError(
                .configuration, subject: file,
                detail: "size \(size)\(cropSize.map { " and crop_size \($0)" } ?? "") do not give the squares of \(side) pixels "
                    + "that the vision tower takes")
        }
    }
}
