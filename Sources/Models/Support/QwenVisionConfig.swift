import Checkpoints
import Layers
import Tensors

/// The vision tower of a Qwen-VL model in numbers, and in names where they differ.
struct QwenVisionConfig: Sendable {
    /// What a patch merger calls its parts.
    struct MergerNames: Sendable {
        var norm: String
        var first: String
        var second: String
    }

    var layers: Int
    var width: Int
    var heads: Int
    var intermediateSize: Int
    var outputWidth: Int
    var channels: Int
    var patchSize: Int
    var temporalPatchSize: Int
    var mergeSize: Int
    var norm: Norm.Kind
    var mlp: VisionBlockConfig.MLP
    var theta: Double
    var merger = MergerNames(norm: "ln_q", first: "mlp.0", second: "mlp.2")
    /// Side of an attention window in merged patches, and the layers that ignore windows; nil without windows.
    var window: (side: Int, fullLayers: Set<Int>)?
    var patchBias = false
    /// Side of the table of learned positions, nil without one.
    var positionSide: Int?
    /// Ascending blocks whose outputs become features too, of as many layers of the language model: see ``StackedFeatures``.
    var stackedBlocks: [Int] = []

    /// Features of one flattened patch.
    var patchFeatures: Int { channels * temporalPatchSize * patchSize * patchSize }

    /// The fields that all of these towers share.
    init(
        _ config: ConfigReader, width: Int, intermediateSize: Int, outputWidth: Int, layers: Int = 32, patchSize: Int = 14,
        norm: Norm.Kind, mlp: VisionBlockConfig.MLP
    ) throws {
        self.width = width
        self.intermediateSize = intermediateSize
        self.outputWidth = outputWidth
        self.norm = norm
        self.mlp = mlp
        self.layers = try config.size("depth", default: layers, upTo: 4096)
        heads = try config.size("num_heads", default: 16)
        // Published files say `in_chans`, which transformers ignores in favour of its default.
        channels = try config.size("in_channels", default: 3, upTo: 64)
        self.patchSize = try config.square("patch_size", default: patchSize)
        temporalPatchSize = try config.square("temporal_patch_size", default: 2)
        mergeSize = try config.size("spatial_merge_size", default: 2, upTo: 64)
        theta = try config.objectIfPresent("rope_parameters")?.double("rope_theta", default: 10_000) ?? 10_000
        guard width.isMultiple(of: heads), (width / heads).isMultiple(of: 4) else {
            throw config.invalid("num_heads", "is \(heads); the head size \(width)/\(heads) must be a multiple of 4")
        }
    }

    /// The block in the tower's names.
    var block: VisionBlockConfig {
        VisionBlockConfig(
            width: width, heads: heads, intermediateSize: intermediateSize, norm: norm, normEpsilon: 1e-6, attentionNorm: "norm1",
            mlpNorm: "norm2", qkv: .fused("attn.qkv"), qkvBias: true, output: "attn.proj", mlp: mlp)
    }

    /// Blocks of patches to rows of features.
    ///
    /// - Parameter normsMerged: whether the norm is over a whole block of patches, rather than each.
    func mergerSteps(normsMerged: Bool) -> [ConnectorStep] {
        let unit = mergeSize * mergeSize
        let norm = ConnectorStep.norm(merger.norm, norm, epsilon: 1e-6)
        return (normsMerged ? [.merge(unit), norm] : [norm, .merge(unit)]) + [
            .linear(merger.first, out: unit * width), .activation(.gelu), .linear(merger.second, out: outputWidth),
        ]
    }
}
