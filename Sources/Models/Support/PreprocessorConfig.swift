import Checkpoints
import Imaging
import JSON

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

    func bool(_ key: String, default fallback: Bool) throws -> Bool {
        guard let reader, !reader.isNull(key) else { return fallback }
        return try reader.bool(key, default: fallback)
    }

    /// Whether the file names SigLIP's processor; CLIP's goes without saying.
    var isSiglip: Bool { reader?.value("image_processor_type")?.stringValue?.contains("Siglip") ?? false }

    enum Size: Equatable, CustomStringConvertible {
        case square(Int)
        case shortestEdge(Int)
        case longestEdge(Int)

        var description: String {
            switch self {
            case .square(let side): "\(side)x\(side)"
            case .shortestEdge(let edge): "shortest_edge \(edge)"
            case .longestEdge(let edge): "longest_edge \(edge)"
            }
        }
    }

    /// A size as an object, or as the one number of early files.
    ///
    /// - Parameter squares: whether one number is both sides, rather than the shorter.
    func size(_ key: String, default fallback: Size, squares: Bool) throws -> Size {
        guard let reader, let value = reader.value(key), value != .null else { return fallback }
        func edge(_ reader: ConfigReader, _ key: String) throws -> Int { try reader.size(key, default: 0, upTo: 1 << 14) }
        guard value.objectValue != nil else {
            let side = try edge(reader, key)
            return squares ? .square(side) : .shortestEdge(side)
        }
        let size = try reader.object(key)
        if size.has("shortest_edge") { return .shortestEdge(try edge(size, "shortest_edge")) }
        if size.has("longest_edge") { return .longestEdge(try edge(size, "longest_edge")) }
        let (height, width) = (try edge(size, "height"), try edge(size, "width"))
        guard height == width else { throw reader.invalid(key, "is \(width)x\(height), not a square") }
        return .square(height)
    }

    /// The mean colour as bytes, as `int(255 · mean)` makes it.
    func borderColor(mean: [Float]) throws -> [UInt8] {
        let mean = try reader?.doublesIfPresent("image_mean") ?? mean.map { Double($0) }
        guard mean.count == 3, mean.allSatisfy({ $0 >= 0 && $0 <= 1 }) else {
            throw ModelError(
                .configuration, subject: reader?.file ?? "preprocessor", detail: "image_mean must be three numbers from 0 to 1")
        }
        return mean.map { UInt8(255 * $0) }
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
