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
        guard ratio <= 1, ratio >= 1.0 / 64 else {
            throw config.invalid("downsample_ratio", "is \(ratio), a number from 1/64 to 1 is needed")
        }
        return Int(1 / ratio)
    }

    /// Checks that patches fill the tile and merged patches the patches.
    func validate(_ config: ConfigReader) throws {
        guard side > 0, side.isMultiple(of: merge), tableSize >= patchSize else {
            throw config.invalid(
                "vision_config",
                "has patches of \(patchSize) pixels, \(merge)x\(merge) of them merged; they do not fill tiles of \(tileSize)"
            )
        }
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
