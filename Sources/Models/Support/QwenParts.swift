import Checkpoints
import Layers

/// What Qwen's vision-language models have in common: all but the numbers of their two halves.
enum QwenParts {
    /// A family of them.
    ///
    /// - Parameters:
    ///   - decoder: reads the language model's configuration.
    ///   - vision: reads the tower's.
    static func family(
        name: String, architecture: String, formats: String, devicesTested: [String], rename: [PrefixRename] = [],
        decoder: @escaping @Sendable (ConfigReader) throws -> DecoderConfig,
        vision: @escaping @Sendable (ConfigReader) throws -> QwenVisionConfig
    ) -> ModelFamily {
        ModelFamily(
            name: name, architectures: [architecture], formats: formats, inputs: [.text, .images],
            devicesTested: devicesTested, rename: { _ in rename },
            build: { checkpoint, loader in
                let config = checkpoint.config
                let text = try config.objectIfPresent("text_config") ?? config
                let vision = try vision(try config.object("vision_config"))
                var decoder = try decoder(text)
                decoder.tiedHead = try decoder.tiedHead || config.bool("tie_word_embeddings", default: false)
                try check(vision, fits: decoder, config)
                let language = try DecoderModel(decoder, body: loader.root["model.language_model"], headName: "lm_head")
                let encoder = try QwenVisionEncoder(vision, loader.root["model.visual"])
                let imageToken = try config.token("image_token_id", default: 151_655)
                return LoadedModel(
                    family: name, language: language, vision: encoder,
                    imageProcessor: try QwenImageProcessor(checkpoint, vision: vision),
                    promptRule: promptRule(imageToken: imageToken), eosTokenIDs: try checkpoint.eosTokenIDs(text: text),
                    positionRule: .multimodal(imageTokenID: imageToken, mergeSize: vision.mergeSize))
            })
    }

    private static func check(_ vision: QwenVisionConfig, fits decoder: DecoderConfig, _ config: ConfigReader) throws {
        guard vision.outputWidth == decoder.hiddenSize else {
            throw config.invalid(
                "vision_config",
                "gives features of width \(vision.outputWidth) to a model of width \(decoder.hiddenSize)")
        }
        guard vision.stackedBlocks.count < decoder.layers else {
            throw config.invalid(
                "vision_config",
                "gives features to \(vision.stackedBlocks.count) layers; fewer than the model's \(decoder.layers) are possible")
        }
    }

    /// The chat template writes one pad token per image between the vision markers.
    private static func promptRule(imageToken: Int32) -> PromptRule {
        let token = "<|image_pad|>"
        return PromptRule(
            imagePlaceholder: token, imageToken: token, configuredImageTokenID: imageToken,
            expansion: { String(repeating: token, count: $0.tokenCount) })
    }
}
