import Checkpoints
import Layers

extension TileTowerConfig {
    /// A tower named by `model_type`: `clip_vision_model` or `siglip_vision_model`, in transformers' names and with its defaults
    /// (transformers 5.17.0 `models/clip`, `models/siglip`).
    ///
    /// - Parameters:
    ///   - taps: which hidden states are features, counted as transformers does; see ``ConfigReader/taps(_:default:of:)``.
    ///   - finalNorm: whether the norm after the last block is part of the features.
    init(
        clipOrSiglip config: ConfigReader, default fallback: String, finalNorm: Bool,
        taps: (_ layers: Int) throws -> [Int]
    ) throws {
        let type = try config.string("model_type", default: fallback)
        switch type {
        case "clip_vision_model":
            self = try TileTowerConfig(
                config, patchSize: 32, epsilon: 1e-5, activation: "quick_gelu", finalNorm: finalNorm, taps: taps)
            classToken = ("embeddings.class_embedding", [])
            preNorm = ("pre_layrnorm", block.normEpsilon)
            patchBias = false
        case "siglip_vision_model":
            self = try TileTowerConfig(
                config, patchSize: 16, epsilon: 1e-6, activation: "gelu_pytorch_tanh", finalNorm: finalNorm, taps: taps)
            unused.append("head")
        default:
            throw config.invalid(
                "model_type", "is \"\(type)\"", hint: "Vision towers known here are clip_vision_model and siglip_vision_model")
        }
        // Buffers that early files hold.
        unused.append("embeddings.position_ids")
    }

    /// What CLIP, SigLIP and the towers made after them share.
    ///
    /// - Parameters:
    ///   - width, heads, patchSize, epsilon, activation: defaults of the file's values.
    ///   - taps: see ``init(clipOrSiglip:default:finalNorm:taps:)``.
    init(
        _ config: ConfigReader, width: Int = 768, heads: Int = 12, patchSize: Int, epsilon: Float, activation: String,
        finalNorm: Bool,
        taps: (_ layers: Int) throws -> [Int]
    ) throws {
        let width = try config.size("hidden_size", default: width)
        let heads = try config.size("num_attention_heads", default: heads)
        guard width.isMultiple(of: heads) else { throw config.invalid("num_attention_heads", "does not divide \(width)") }
        guard try config.int("num_channels", default: 3) == 3 else { throw config.invalid("num_channels", "is not 3") }
        let layers = try config.size("num_hidden_layers", default: 12, upTo: 4096)
        let epsilon = try config.epsilon("layer_norm_eps", default: epsilon)
        let size = try config.square("image_size", default: 224)
        self.init(
            width: width, patchSize: try config.square("patch_size", default: patchSize), tileSize: size, tableSize: size,
            fileLayers: layers, taps: try taps(layers),
            block: VisionBlockConfig(
                width: width, heads: heads, intermediateSize: try config.size("intermediate_size", default: 3072), norm: .layer,
                normEpsilon: epsilon, attentionNorm: "layer_norm1", mlpNorm: "layer_norm2",
                qkv: .separate(query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj"), qkvBias: true,
                output: "self_attn.out_proj",
                mlp: .plain(first: "mlp.fc1", second: "mlp.fc2", try config.activation("hidden_act", default: activation))),
            patchEmbedding: "embeddings.patch_embedding", positionTable: ("embeddings.position_embedding.weight", []),
            finalNorm: finalNorm ? ("post_layernorm", epsilon) : nil, blocks: "encoder.layers",
            unused: finalNorm ? [] : ["post_layernorm"])
        guard tileSize >= self.patchSize else {
            throw config.invalid("patch_size", "is \(self.patchSize), larger than images of \(tileSize)")
        }
    }

    /// Feature rows of one tile.
    func tokens(_ rows: TileEncoder.Rows) -> Int {
        (side / rows.merge) * (side / rows.merge) + (rows.keepsClassToken ? classTokens : 0)
    }

    /// Checks that patches fill the tile and merged patches the patches.
    func validate(_ config: ConfigReader, merge: Int) throws {
        guard side > 0, side.isMultiple(of: merge), tableSize >= patchSize else {
            throw config.invalid(
                "vision_config",
                "has patches of \(patchSize) pixels, \(merge)x\(merge) of them merged; they do not fill tiles of \(tileSize)"
            )
        }
    }
}

extension ConfigReader {
    /// Blocks that have run where features are taken: 0 for the embeddings, -1 for the last block's output, or a list of such.
    func taps(_ key: String, default fallback: Int, of layers: Int) throws -> [Int] {
        let given = try intOrInts(key)
        guard given.count <= 64 else { throw invalid(key, "has \(given.count) entries, at most 64 are possible") }
        return try (given.isEmpty ? [fallback] : given).map { index in
            let run = index < 0 ? layers + 1 + index : index
            guard run >= 0, run <= layers else { throw invalid(key, "is \(index), the tower has \(layers) layers") }
            return run
        }
    }

    /// Patches per side that become one feature row, from `downsample_ratio`.
    func mergeOfDownsampleRatio() throws -> Int {
        let ratio = try double("downsample_ratio", default: 0.5)
        guard ratio <= 1, ratio >= 1.0 / 64 else {
            throw invalid("downsample_ratio", "is \(ratio), a number from 1/64 to 1 is needed")
        }
        return Int(1 / ratio)
    }

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
