import Checkpoints
import Layers

/// Qwen3-VL, dense (arXiv 2511.21631): pictures at their own resolution, features from several depths of the tower added to the first layers of
/// Qwen3 (DeepStack), M-RoPE whose axes take turns. Transformers 5.17.0 `models/qwen3_vl`.
enum Qwen3VL {
    static let family = QwenParts.family(
        name: "Qwen3-VL", architecture: "Qwen3VLForConditionalGeneration",
        formats: "dense (2B to 32B), as published, and as transformers 5 saves it", devicesTested: ["CPU"],
        decoder: decoder, vision: vision)

    private static func decoder(_ config: ConfigReader) throws -> DecoderConfig {
        let defaults = DecoderDefaults(
            vocabularySize: 151_936, intermediateSize: 22_016, kvHeads: 32, maxPositions: 128_000, theta: 500_000, headSize: 128)
        var decoder = try DecoderConfig(config, defaults: defaults, sections: [24, 20, 20])
        decoder.rotary.interleavesSections = true
        decoder.headNorms = true
        decoder.qkvBias = try config.bool("attention_bias", default: false)
        decoder.outputBias = decoder.qkvBias
        return decoder
    }

    private static func vision(_ config: ConfigReader) throws -> QwenVisionConfig {
        let activation = try config.activation("hidden_act", default: "gelu_pytorch_tanh")
        var vision = try QwenVisionConfig(
            config, width: config.size("hidden_size", default: 1152),
            intermediateSize: config.size("intermediate_size", default: 4304),
            outputWidth: config.size("out_hidden_size", default: 3584), layers: 27, patchSize: 16, norm: .layer,
            mlp: .plain(first: "mlp.linear_fc1", second: "mlp.linear_fc2", activation))
        vision.merger = .init(norm: "norm", first: "linear_fc1", second: "linear_fc2")
        vision.patchBias = true
        let positions = try config.size("num_position_embeddings", default: 2304)
        let side = Int(Double(positions).squareRoot())
        guard side * side == positions else {
            throw config.invalid("num_position_embeddings", "is \(positions), which is no square")
        }
        vision.positionSide = side
        vision.stackedBlocks = try config.ints("deepstack_visual_indexes", default: [8, 16, 24])
        let blocks = [-1] + vision.stackedBlocks + [vision.layers]
        guard zip(blocks, blocks.dropFirst()).allSatisfy(<) else {
            throw config.invalid(
                "deepstack_visual_indexes", "is \(vision.stackedBlocks), ascending blocks of the \(vision.layers) are needed")
        }
        return vision
    }
}
