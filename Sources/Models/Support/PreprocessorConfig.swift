import Checkpoints
import Imaging

/// Image preprocessing settings with the precedence transformers 5.17.0 reads them: `image_processor` inside
/// processor_config.json, else preprocessor_config.json, else the class's own values.
struct PreprocessorConfig {
    /// nil when the checkpoint has neither file.
    let reader: ConfigReader?

    init(_ checkpoint: Checkpoint) throws {
        reader = try checkpoint.processorConfig?.objectIfPresent("image_processor") ?? checkpoint.preprocessorConfig
    }

    func int(_ key: String, default fallback: Int, upTo limit: Int) throws -> Int {
        try reader?.size(key, default: fallback, upTo: limit) ?? fallback
    }

    /// `resample`, a number of Pillow's.
    func filter(default fallback: ResampleFilter) throws -> ResampleFilter {
        guard let reader, let code = try reader.intIfPresent("resample") else { return fallback }
        switch code {
        case 0: return .nearest
        case 1: return .lanczos
        case 2: return .bilinear
        case 3: return .bicubic
        case 4: return .box
        default: throw reader.invalid("resample", "is \(code)", hint: "Known are 0 to 4, as Pillow numbers its filters")
        }
    }

    func normalization(mean: [Float], std: [Float]) throws -> Normalization {
        guard let reader else { return Normalization(mean: mean, std: std) }
        let factor = try reader.double("rescale_factor", default: 1.0 / 255)
        let rescale = try reader.bool("do_rescale", default: true) ? factor : nil
        guard try reader.bool("do_normalize", default: true) else { return Normalization(rescale: rescale ?? 1) }
        let (mean, std) = (try reader.floats("image_mean", default: mean), try reader.floats("image_std", default: std))
        guard mean.count == 3, std.count == 3, (mean + std).allSatisfy(\.isFinite), !std.contains(0), factor.isNormal else {
            throw reader.invalid(
                "image_std", "and image_mean need three numbers each, deviations and rescale_factor other than 0")
        }
        return Normalization(mean: mean, std: std, rescale: rescale)
    }
}
