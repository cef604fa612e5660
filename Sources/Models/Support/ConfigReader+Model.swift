import Checkpoints
import Tensors

extension ConfigReader {
    /// A positive width, count or side of at most `limit`, so that products of sizes stay far from overflow.
    func size(_ key: String, default fallback: Int, upTo limit: Int = 1 << 22) throws -> Int {
        let value = try positive(key, default: fallback)
        guard value <= limit else { throw invalid(key, "is \(value), at most \(limit) is possible") }
        return value
    }

    /// What a norm adds to the variance; a negative one would make roots of negative numbers.
    func epsilon(_ key: String, default fallback: Float) throws -> Float {
        let value = try float(key, default: fallback)
        guard value >= 0, value.isFinite else { throw invalid(key, "is \(value), a number of at least 0 is needed") }
        return value
    }

    /// A token id.
    func token(_ key: String, default fallback: Int32) throws -> Int32 {
        let value = try int(key, default: Int(fallback))
        guard let token = Int32(exactly: value), token >= 0 else { throw invalid(key, "is \(value), which is no token id") }
        return token
    }

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
        guard first > 0, first <= 1 << 14, values.allSatisfy({ $0 == first }), values.count <= 2 else {
            throw invalid(key, "is \(values), one positive size for both sides is needed, at most \(1 << 14)")
        }
        return first
    }

    /// The width of attention heads: given, or the width split among them.
    func headSize(width: Int, heads: Int) throws -> Int {
        if has("head_dim") { return try size("head_dim", default: 1, upTo: 1 << 14) }
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
            // An id outside the vocabulary never comes up.
            if !ids.isEmpty { return ids.compactMap { Int32(exactly: $0) } }
        }
        return fallback.map { Int32($0) }
    }
}
