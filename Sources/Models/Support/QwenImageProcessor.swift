import Checkpoints
import Imaging

/// Qwen2-VL's image strategy: the picture at its own resolution, sides rounded to multiples of a merged patch.
/// Transformers 5.17.0 `image_processing_qwen2_vl.py`.
struct QwenImageProcessor: ImageProcessor {
    private let patchSize: Int
    private let mergeSize: Int
    private let temporalPatchSize: Int
    private let minPixels: Int
    private let maxPixels: Int
    private let resizes: Bool
    private let filter: ResampleFilter
    private let normalization: Normalization

    /// No picture is made larger than this.
    private static let mostPixels = 1 << 28

    init(_ checkpoint: Checkpoint, vision: QwenVisionConfig) throws {
        let config = try PreprocessorConfig(checkpoint)
        patchSize = try config.int("patch_size", default: 14, upTo: 1 << 14)
        mergeSize = try config.int("merge_size", default: 2, upTo: 64)
        temporalPatchSize = try config.int("temporal_patch_size", default: 2, upTo: 64)
        guard patchSize == vision.patchSize, mergeSize == vision.mergeSize, temporalPatchSize == vision.temporalPatchSize,
            vision.channels == 3
        else {
            throw ModelError(
                .configuration, subject: config.reader?.file ?? checkpoint.config.file,
                detail: "patches of \(patchSize), merged by \(mergeSize), \(temporalPatchSize) frames are not what config.json's "
                    + "vision_config takes: \(vision.patchSize), \(vision.mergeSize), \(vision.temporalPatchSize)")
        }
        // `min_pixels` and `max_pixels`, where present, replace the sides of `size`.
        let size = try config.reader?.objectIfPresent("size")
        minPixels = try QwenImageProcessor.bound("min_pixels", "shortest_edge", config.reader, size, default: 56 * 56)
        maxPixels = try QwenImageProcessor.bound("max_pixels", "longest_edge", config.reader, size, default: 28 * 28 * 1280)
        guard minPixels > 0, maxPixels > 0, max(minPixels, maxPixels) <= QwenImageProcessor.mostPixels else {
            throw ModelError(
                .configuration, subject: config.reader?.file ?? checkpoint.config.file,
                detail: "min_pixels \(minPixels) and max_pixels \(maxPixels) must be from 1 to \(QwenImageProcessor.mostPixels)")
        }
        resizes = try config.reader?.bool("do_resize", default: true) ?? true
        filter = try config.filter(default: .bicubic)
        normalization = try config.normalization(mean: Normalization.clipMean, std: Normalization.clipStd)
    }

    private static func bound(
        _ key: String, _ edge: String, _ reader: ConfigReader?, _ size: ConfigReader?, default fallback: Int
    ) throws -> Int {
        if let reader, let pixels = try reader.intIfPresent(key) { return pixels }
        guard let size else { return fallback }
        // Early files wrote the bounds under their own names here.
        return try size.intIfPresent(key) ?? size.int(edge)
    }

    func process(_ image: RGBImage, options: ImageOptions) throws -> ProcessedImage {
        let factor = patchSize * mergeSize
        var size = (width: image.width, height: image.height)
        if resizes {
            let (least, most) = (options.minPixels ?? minPixels, options.maxPixels ?? maxPixels)
            guard least > 0, most > 0, max(least, most) <= QwenImageProcessor.mostPixels else {
                throw ModelError(
                    .unsupportedImage, subject: "image bounds",
                    detail:
                        "at least \(least) and at most \(most) pixels; give numbers from 1 to \(QwenImageProcessor.mostPixels)")
            }
            let (height, width) = try smartResize(
                height: image.height, width: image.width, factor: factor, minPixels: least, maxPixels: most)
            guard height > 0, width > 0 else {
                throw ModelError(
                    .unsupportedImage, subject: "image of \(image.width)x\(image.height)",
                    detail: "becomes \(width)x\(height) under max_pixels \(most); raise it")
            }
            size = (width, height)
        }
        guard size.width.isMultiple(of: factor), size.height.isMultiple(of: factor) else {
            throw ModelError(
                .unsupportedImage, subject: "image of \(size.width)x\(size.height)",
                detail: "sides must be multiples of \(factor) when preprocessor_config.json turns do_resize off")
        }
        let grid = [1, size.height / patchSize, size.width / patchSize]
        return ProcessedImage(
            .pictures(
                CutPictures(
                    image, targets: [ResizeTarget(width: size.width, height: size.height)], filter: filter, arithmetic: .torch,
                    normalization,
                    .patches(size: patchSize, merge: mergeSize, frames: temporalPatchSize), options: options)),
            dimensions: [grid[1] * grid[2], 3 * temporalPatchSize * patchSize * patchSize], grid: grid,
            tokenCount: grid[1] * grid[2] / (mergeSize * mergeSize))
    }

    func mostRows(_ options: ImageOptions) -> Int {
        // Rounding up to the least size may pass the bound by a merged patch's side on each axis; never for bounds above that.
        max(options.maxPixels ?? maxPixels, options.minPixels ?? minPixels) / (patchSize * patchSize) + mergeSize * mergeSize
    }
}
