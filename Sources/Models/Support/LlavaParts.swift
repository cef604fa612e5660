import Checkpoints
import JSON
import Layers

/// What the LLaVA models of transformers share: a CLIP or SigLIP tower, a projector of two linears, a decoder.
struct LlavaParts {
    let language: LanguageFamily
    let decoder: DecoderConfig
    let tower: TileTowerConfig
    let rows: TileEncoder.Rows
    private let projector: [ConnectorStep]
    private let checkpoint: Checkpoint
    private let text: ConfigReader

    /// Defaults of config.json that differ between the families.
    struct Defaults {
        var language = "llama"
        var tower = "clip_vision_model"
        /// Hidden state that is projected, and whether the first row of a tile, its class token, is dropped.
        var featureLayer = -2
        var strategy = "default"
        var imageToken: Int32 = 32_000
    }

    let imageTokenID: Int32

    init(_ checkpoint: Checkpoint, _ defaults: Defaults = Defaults()) throws {
        let config = checkpoint.config
        self.checkpoint = checkpoint
        text = try config.object("text_config")
        language = try LanguageFamily.of(text, default: defaults.language)
        var decoder = try language.decoder(text)
        decoder.tiedHead = try decoder.tiedHead || config.bool("tie_word_embeddings", default: false)
        self.decoder = decoder
        let vision = try config.object("vision_config")
        tower = try TileTowerConfig(clipOrSiglip: vision, default: defaults.tower, finalNorm: false) {
            try config.taps("vision_feature_layer", default: defaults.featureLayer, of: $0)
        }
        let strategy = try config.string("vision_feature_select_strategy", default: defaults.strategy)
        guard strategy == "full" || strategy == "default" && tower.classToken != nil else {
            throw config.invalid(
                "vision_feature_select_strategy", "is \"\(strategy)\"",
                hint: "Known are full and, for towers with a class token, default")
        }
        rows = TileEncoder.Rows(keepsClassToken: strategy == "full" && tower.classToken != nil)
        try tower.validate(config, merge: 1)
        let bias = try config.bool("multimodal_projector_bias", default: true)
        projector = [
            .linear("linear_1", out: decoder.hiddenSize, bias: bias),
            .activation(try config.activation("projector_hidden_act", default: "gelu")),
            .linear("linear_2", out: decoder.hiddenSize, bias: bias),
        ]
        let token = try config.token("image_token_index", default: defaults.imageToken)
        imageTokenID = try config.token("image_token_id", default: token)
    }

    /// Names in published files, in those of transformers 4.52 and later, and in those that transformers 5 saves.
    static let rename = [
        PrefixRename("model.vision_tower.vision_model", to: "model.vision_tower"),
        PrefixRename("vision_tower.vision_model", to: "model.vision_tower"),
        PrefixRename("vision_tower", to: "model.vision_tower"),
        PrefixRename("multi_modal_projector", to: "model.multi_modal_projector"),
        PrefixRename("image_newline", to: "model.image_newline"),
        PrefixRename("language_model.model", to: "model.language_model"),
        PrefixRename("language_model.lm_head", to: "lm_head"),
    ]

    /// Feature rows of one tile.
    var tokensPerTile: Int { tower.tokens(rows) }

    /// The model, whose weights have the names of ``rename``.
    ///
    /// - Parameter newline: name of the row that ends lines of features.
    func model(
        family: String, _ loader: WeightLoader, imageProcessor: any ImageProcessor, newline: String? = nil
    ) throws -> LoadedModel {
        LoadedModel(
            family: family,
            language: try DecoderModel(
                decoder, names: language.names, body: loader.root["model.language_model"], headName: "lm_head"),
            vision: try TileEncoder(
                tower, tower: loader.root["model.vision_tower"], rows: rows,
                connector: loader.root["model.multi_modal_projector"], steps: projector, newline: newline),
            imageProcessor: imageProcessor,
            promptRule: promptRule, eosTokenIDs: try checkpoint.eosTokenIDs(text: text, default: [2]))
    }

    /// The template writes one image token per picture, which is repeated.
    private var promptRule: PromptRule {
        let token = checkpoint.specialToken("image_token", default: "<image>")
        return PromptRule(
            imagePlaceholder: token, imageToken: token, configuredImageTokenID: imageTokenID,
            expansion: { String(repeating: token, count: $0.tokenCount) })
    }
}

extension Checkpoint {
    /// A token that the processor's or the tokenizer's configuration names, there beside the other keys or among the extra special tokens.
    func specialToken(_ key: String, default fallback: String) -> String {
        func text(_ value: JSONValue?) -> String? { value?.stringValue ?? value?["content"]?.stringValue }
        return text(processorConfig?.value(key)) ?? text(tokenizerConfig?.value(key))
            ?? text(tokenizerConfig?.value("extra_special_tokens")?[key]) ?? fallback
    }
}
