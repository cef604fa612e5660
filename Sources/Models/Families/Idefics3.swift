import Checkpoints
import Imaging
import Layers

/// Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299): a SigLIP tower, pixel shuffle and one linear, and tags that tell the
/// language model where each tile lies. Transformers 5.17.0 `models/idefics3`, `models/smolvlm`.
enum Idefics3 {
    static let family = ModelFamily(
        name: "Idefics3 and SmolVLM", architectures: ["Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"],
        formats: "Idefics3, SmolVLM and SmolVLM2 (pictures), as published", inputs: [.text, .images], devicesTested: ["CPU"],
        rename: { _ in [] }, build: build)

    private static func build(_ checkpoint: Checkpoint, _ loader: WeightLoader) throws -> LoadedModel {
        let config = checkpoint.config
        let text = try config.object("text_config")
        let language = try LanguageFamily.of(text, default: "llama")
        var decoder = try language.decoder(text)
        decoder.tiedHead = try config.bool("tie_word_embeddings", default: false)
        let merge = try config.size("scale_factor", default: 2, upTo: 64)
        let vision = try towerConfig(config.object("vision_config"))
        try vision.validate(config, merge: merge)
        let rows = TileEncoder.Rows(merge: merge)
        let tokens = vision.tokens(rows)
        guard try checkpoint.processorConfig?.int("image_seq_len", default: tokens) ?? tokens == tokens else {
            throw ModelError(
                .configuration, subject: checkpoint.processorConfig?.file ?? config.file,
                detail: "image_seq_len is not the \(tokens) features that a tile of \(vision.tileSize) pixels gives")
        }
        return LoadedModel(
            family: family.name,
            language: try DecoderModel(
                decoder, names: language.names, body: loader.root["model.text_model"], headName: "lm_head"),
            vision: try TileEncoder(
                vision, tower: loader.root["model.vision_model"], rows: rows, connector: loader.root["model.connector"],
                steps: [.merge(merge * merge), .linear("modality_projection.proj", out: decoder.hiddenSize, bias: false)]),
            imageProcessor: try SplitImageProcessor(checkpoint, tower: vision, tokensPerTile: tokens),
            promptRule: promptRule(checkpoint, imageToken: try config.token("image_token_id", default: 128_257), tokens: tokens),
            eosTokenIDs: try checkpoint.eosTokenIDs(text: text, default: [2]))
    }

    /// SigLIP without its head. Of tiles as large as the table each patch has the position of its own, as in all published checkpoints,
    /// though transformers goes by way of fractions, which float32 rounds for other sizes.
    private static func towerConfig(_ config: ConfigReader) throws -> TileTowerConfig {
        try TileTowerConfig(
            config, width: 1152, heads: 16, patchSize: 32, epsilon: 1e-6, activation: "gelu_pytorch_tanh", finalNorm: true,
            taps: { [$0] })
    }

    /// Each tile's features are named by row and column, a line of tiles ends with a newline, and the whole picture comes last.
    private static func promptRule(_ checkpoint: Checkpoint, imageToken: Int32, tokens: Int) -> PromptRule {
        let image = checkpoint.specialToken("image_token", default: "<image>")
        let around = checkpoint.specialToken("fake_image_token", default: "<fake_token_around_image>")
        let whole = checkpoint.specialToken("global_image_token", default: "<global-img>")
        let features = String(repeating: image, count: tokens)
        return PromptRule(
            imagePlaceholder: image, imageToken: image, configuredImageTokenID: imageToken,
            expansion: { processed in
                let last = around + whole + features + around
                guard let grid = processed.tileGrid else { return last }
                let lines = (1...grid.rows).map { row in
                    (1...grid.columns).map { "\(around)<row_\(row)_col_\($0)>\(features)" }.joined() + "\n"
                }
                return lines.joined() + "\n" + last
            })
    }
}
