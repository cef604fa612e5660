package import Tensors

/// A decoder-only transformer in numbers: what ``DecoderModel`` is built from.
package struct DecoderConfig: Sendable {
    package var vocabularySize: Int
    package var hiddenSize: Int
    package var intermediateSize: Int
    package var layers: Int
    package var heads: Int
    package var kvHeads: Int
    package var headSize: Int
    package var normEpsilon: Float
    /// Of the gated MLP, `down(f(gate x) ⊙ up x)`.
    package var activation = Activation.silu
    package var rotary: RotaryConfig
    package var maxPositions: Int
    /// Whether the head is the embedding table when the file has no head of its own.
    package var tiedHead = false
    package var qkvBias = false
    package var outputBias = false
    package var mlpBias = false
    /// Root-mean-square norm of each query and key head before rotation (Qwen3).
    package var headNorms = false
    /// Sliding window of each layer in positions, nil for all of the context.
    package var windows: [Int?]
    /// Rotary embedding of layers with a window, where it is another (Gemma 3).
    package var windowRotary: RotaryConfig?
    /// Multiplies `q · k`; nil for `1/√E`.
    package var attentionScale: Float?
    /// `cap · tanh(x / cap)` on attention scores and on logits, nil for none (Gemma 2).
    package var attentionSoftcap: Float?
    package var logitSoftcap: Float?
    /// Norms multiply by `1 + weight` (Gemma).
    package var hasUnitNorms = false
    /// Root-mean-square norms of what attention and MLP give, before it is added (Gemma 2 and 3).
    package var hasOutputNorms = false
    /// Multiplies embeddings of tokens, not features of images (Gemma); nil for 1.
    package var embeddingScale: Float?

    package init(
        vocabularySize: Int, hiddenSize: Int, intermediateSize: Int, layers: Int, heads: Int, kvHeads: Int, headSize: Int,
        normEpsilon: Float, rotary: RotaryConfig, maxPositions: Int
    ) {
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.intermediateSize = intermediateSize
        self.layers = layers
        self.heads = heads
        self.kvHeads = kvHeads
        self.headSize = headSize
        self.normEpsilon = normEpsilon
        self.rotary = rotary
        self.maxPositions = maxPositions
        windows = [Int?](repeating: nil, count: layers)
    }

    /// Features of queries, of keys (and of values), and of all three.
    package var queryWidth: Int { heads * headSize }
    package var keyWidth: Int { kvHeads * headSize }
    package var qkvWidth: Int { queryWidth + 2 * keyWidth }
}

/// What a checkpoint calls the parts of a decoder, relative to its body.
package struct DecoderNames: Sendable {
    package enum QKV: Sendable {
        case separate(query: String, key: String, value: String)
        /// One matrix whose rows are, for each key head, its query heads, the key head and the value head (InternLM2's `wqkv`).
        case grouped(String)
    }

    package var embedding = "embed_tokens"
    package var layers = "layers"
    package var finalNorm = "norm"
    package var attentionNorm = "input_layernorm"
    package var mlpNorm = "post_attention_layernorm"
    /// Norms of the two outputs, where the model has them.
    package var attentionOutputNorm = "post_attention_layernorm"
    package var mlpOutputNorm = "post_feedforward_layernorm"
    package var qkv = QKV.separate(query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj")
    package var output = "self_attn.o_proj"
    package var queryNorm = "self_attn.q_norm"
    package var keyNorm = "self_attn.k_norm"
    package var gate = "mlp.gate_proj"
    package var up = "mlp.up_proj"
    package var down = "mlp.down_proj"

    /// The names of Llama, which most models share.
    package static let llama = DecoderNames()

    /// Gemma 2 and 3: a norm before and one after each part.
    package static let gemma: DecoderNames = {
        var names = DecoderNames()
        names.mlpNorm = "pre_feedforward_layernorm"
        return names
    }()

    package static let internLM2: DecoderNames = {
        var names = DecoderNames()
        names.embedding = "tok_embeddings"
        names.attentionNorm = "attention_norm"
        names.mlpNorm = "ffn_norm"
        names.qkv = .grouped("attention.wqkv")
        names.output = "attention.wo"
        names.gate = "feed_forward.w1"
        names.up = "feed_forward.w3"
        names.down = "feed_forward.w2"
        return names
    }()
}
