import Checkpoints
import Layers

/// A language model that stands alone or inside a vision-language model.
struct LanguageFamily: Sendable {
    /// `model_type` of its configuration.
    let modelType: String
    let architecture: String
    let names: DecoderNames
    /// The head's name beside the body.
    let headName: String
    let decoder: @Sendable (ConfigReader) throws -> DecoderConfig

    /// Language models that families with images may contain.
    static let all = [
        Qwen2.language, Qwen3.language, Llama.language, Mistral.language, InternLM2.language, Gemma.gemma2, Gemma.gemma3,
    ]

    /// The family of a nested configuration, by `model_type`, else by `architectures`.
    static func of(_ config: ConfigReader, default fallback: String? = nil) throws -> LanguageFamily {
        let type = try config.stringIfPresent("model_type") ?? fallback ?? ""
        let architectures = try config.stringsIfPresent("architectures") ?? []
        if let family = all.first(where: { $0.modelType == type || architectures.contains($0.architecture) }) { return family }
        throw config.invalid(
            "model_type", "is \"\(type)\"", hint: "Language models known are \(all.map(\.modelType).joined(separator: ", "))")
    }

    /// The text-only family of the registry.
    func family(name: String, formats: String, devicesTested: [String] = ["CPU", "H100"]) -> ModelFamily {
        ModelFamily(
            name: name, architectures: [architecture], formats: formats, inputs: [.text], devicesTested: devicesTested,
            rename: { _ in [] },
            build: { checkpoint, loader in
                let language = try DecoderModel(
                    decoder(checkpoint.config), names: names, body: loader.root["model"], headName: headName)
                return LoadedModel(family: name, language: language, eosTokenIDs: try checkpoint.eosTokenIDs(default: [2]))
            })
    }
}

/// Defaults that differ between language models, in transformers' names.
struct DecoderDefaults {
    var vocabularySize: Int
    var intermediateSize: Int
    var hiddenSize = 4096
    var layers = 32
    var heads = 32
    /// nil: as many as `num_attention_heads`.
    var kvHeads: Int?
    var maxPositions: Int
    var epsilon: Float = 1e-6
    var theta = 10_000.0
    var headSize: Int?
    var maxWindowLayers = 28
}

extension DecoderConfig {
    /// The fields that all Llama-like configurations share.
    ///
    /// - Parameters:
    ///   - sections: default of `mrope_section`, where rotary positions have three axes.
    ///   - rope: see ``RotaryConfig/init(_:headSize:maxPositions:defaultTheta:sections:parameters:)``.
    init(
        _ config: ConfigReader, defaults: DecoderDefaults, sections: [Int]? = nil, rope: ConfigReader? = nil
    ) throws {
        let width = try config.size("hidden_size", default: defaults.hiddenSize)
        let heads = try config.size("num_attention_heads", default: defaults.heads)
        let kvHeads = try config.size("num_key_value_heads", default: defaults.kvHeads ?? heads)
        guard heads.isMultiple(of: kvHeads) else {
            throw config.invalid("num_key_value_heads", "is \(kvHeads), which does not divide the \(heads) attention heads")
        }
        let headSize =
            if let size = defaults.headSize { try config.size("head_dim", default: size, upTo: 1 << 14) } else {
                try config.headSize(width: width, heads: heads)
            }
        guard heads * headSize <= 1 << 22 else {
            throw config.invalid("num_attention_heads", "is \(heads), too many heads of size \(headSize)")
        }
        let maxPositions = try config.size("max_position_embeddings", default: defaults.maxPositions, upTo: 1 << 30)
        self.init(
            vocabularySize: try config.size("vocab_size", default: defaults.vocabularySize), hiddenSize: width,
            intermediateSize: try config.size("intermediate_size", default: defaults.intermediateSize),
            layers: try config.size("num_hidden_layers", default: defaults.layers, upTo: 4096), heads: heads, kvHeads: kvHeads,
            headSize: headSize, normEpsilon: try config.epsilon("rms_norm_eps", default: defaults.epsilon),
            rotary: try RotaryConfig(
                config, headSize: headSize, maxPositions: maxPositions, defaultTheta: defaults.theta, sections: sections,
                parameters: rope),
            maxPositions: maxPositions)
        activation = try config.activation("hidden_act", default: "silu")
        tiedHead = try config.bool("tie_word_embeddings", default: false)
    }

    /// Sliding windows as Qwen2 and its kin configure them: `layer_types`, else the layers from `max_window_layers` on.
    mutating func readWindows(_ config: ConfigReader, defaults: DecoderDefaults) throws {
        guard try config.bool("use_sliding_window", default: false),
            let window = try config.isNull("sliding_window") ? nil : config.size("sliding_window", default: 4096, upTo: 1 << 30)
        else { return }
        if let types = try config.stringsIfPresent("layer_types") {
            guard types.count == layers else {
                throw config.invalid("layer_types", "has \(types.count) entries for \(layers) layers")
            }
            windows = types.map { $0 == "sliding_attention" ? window : nil }
        } else {
            let first = try config.int("max_window_layers", default: defaults.maxWindowLayers)
            windows = (0..<layers).map { $0 >= first ? window : nil }
        }
    }
}
