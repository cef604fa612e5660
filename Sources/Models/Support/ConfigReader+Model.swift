import Checkpoints
import Tensors

extension ConfigReader {
    /// An activation by the name transformers gives it (`ACT2FN`).
    func activation(_ key: String, default fallback: String) throws -> Activation {
        let name = try string(key, default: fallback)
        switch name {
        case "silu", "swish": return .silu
        case "gelu": return .gelu
        case "gelu_pytorch_tanh", "gelu_new", "gelu_fast": return .geluTanh
        case "quick_gelu": return .quickGELU
        case "relu": return .relu
        default:
            throw invalid(key, "is \"\(name)\"", hint: "Known are silu, gelu, gelu_pytorch_tanh, quick_gelu and relu")
        }
    }

    /// A size given as one number or as a pair of equal numbers.
    func square(_ key: String, default fallback: Int) throws -> Int {
        let values = try intOrInts(key)
        guard let first = values.first else { return fallback }
        guard first > 0, values.allSatisfy({ $0 == first }), values.count <= 2 else {
            throw invalid(key, "is \(values), one positive size for both sides is needed")
        }
        return first
    }

    /// The width of attention heads: given, or the width split among them.
    func headSize(width: Int, heads: Int) throws -> Int {
        if let given = try intIfPresent("head_dim") { return given }
        guard width.isMultiple(of: heads) else {
            throw invalid("num_attention_heads", "is \(heads), which does not divide the width \(width)")
        }
        return width / heads
    }
}

extension Checkpoint {
    /// Tokens that end a response: `eos_token_id` of generation_config.json, else of config.json, else of `text`.
    func eosTokenIDs(text: ConfigReader? = nil, default fallback: [Int] = []) throws -> [Int32] {
        for reader in [generationConfig, config, text].compactMap({ $0 }) {
            let ids = try reader.intOrInts("eos_token_id")
            if !ids.isEmpty { return ids.map { Int32(truncatingIfNeeded: $0) } }
        }
        return fallback.map { Int32($0) }
    }
}
