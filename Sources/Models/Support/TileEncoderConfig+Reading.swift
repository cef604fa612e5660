import Checkpoints
import Layers

extension TileEncoderConfig {
    /// Blocks to run for a hidden-state index: 0 is the embeddings, -1 the last block's output.
    static func layersRun(_ index: Int, of layers: Int, _ config: ConfigReader, _ key: String) throws -> Int {
        let run = index < 0 ? layers + 1 + index : index
        guard run >= 0, run <= layers else { throw config.invalid(key, "is \(index), the tower has \(layers) layers") }
        return run
    }

    /// Patches per side that become one feature row, from `downsample_ratio`.
    static func merge(_ config: ConfigReader) throws -> Int {
        let ratio = try config.double("downsample_ratio", default: 0.5)
        let merge = ratio > 0 ? Int(1 / ratio) : 0
        guard merge > 0 else {
            throw config.invalid("downsample_ratio", "is \(ratio), a number from 0 (exclusive) to 1 is needed")
        }
        return merge
    }
}

extension ConfigReader {
    /// `layer_norm` or `rms_norm`.
    func normKind(_ key: String, default fallback: String) throws -> Norm.Kind {
        let name = try string(key, default: fallback)
        switch name {
        case "layer_norm": return .layer
        case "rms_norm": return .rms
        default: throw invalid(key, "is \"\(name)\"", hint: "Known are layer_norm and rms_norm")
        }
    }
}
