import Checkpoints
package import JSON
package import Tensors

/// A fixture folder under `Tests/Fixtures/models`: a tiny checkpoint and what transformers computes with it.
///
/// Written by `Tools/goldens/models/generate.py`; the folder's `golden.json` lists the cases and `golden.safetensors` holds their arrays.
package struct Golden: Sendable {
    /// The folder's name, such as `qwen2_5_vl`.
    package let name: String
    /// The checkpoint folder.
    package let checkpoint: String
    package let cases: [GoldenCase]
    /// Prefixes of tensors that the checkpoint has and the model does not use.
    package let unused: [String]

    package init(_ name: String) throws {
        self.name = name
        let folder = Fixtures.path("models/\(name)")
        checkpoint = folder + "/checkpoint"
        let file = try SafetensorsFile(path: folder + "/golden.safetensors")
        let arrays = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
        let reader = try ConfigReader(contentsOf: folder + "/golden.json")
        unused = try reader.stringsIfPresent("unused") ?? []
        let list = reader.object["cases"]?.arrayValue ?? []
        cases = try list.map { try GoldenCase($0, folder: folder, arrays: arrays) }
    }

    /// The case `name`.
    package func callAsFunction(_ name: String) throws -> GoldenCase {
        guard let match = cases.first(where: { $0.name == name }) else {
            throw CheckpointError(.notFound, source: self.name, detail: "no case \(name)")
        }
        return match
    }

    /// All fixture folders.
    package static let all = [
        "qwen2_5_vl", "qwen2_5_vl-untied", "qwen2_5_vl-transformers5", "qwen2_vl", "qwen3_vl",
        "qwen3_vl-transformers5", "internvl", "internvl-qwen3-transformers5",
        "internvl_chat-qwen2", "internvl_chat-qwen3", "internvl_chat-internlm2", "internvl_chat-llama",
        "llava-clip", "llava-siglip", "llava-transformers5", "llava_next", "llava_next-transformers5",
        "llava_onevision", "llava_onevision-transformers5", "llava_original-vicuna", "llava_original-mistral",
        "llava_original-qwen", "llava_original-yi", "yi_vl", "idefics3", "smolvlm", "gemma3",
        "gemma3-transformers5",
        "qwen2", "qwen2-yarn", "qwen3", "llama3", "llama-linear", "mistral", "internlm2", "gemma2",
        "gemma3_text",
    ]
}

/// One conversation and the reference's results for it.
package struct GoldenCase: Sendable {
    package let name: String
    /// OpenAI form; image URLs are relative to the fixture folder.
    package let messages: [JSONValue]
    /// Absolute paths of the pictures in order.
    package let images: [String]
    /// What the chat template renders, before image placeholders are expanded.
    package let prompt: String
    /// The reference's greedy continuation, never stopped by an end token.
    package let greedyTokens: [Int32]
    /// Difference of the two largest logits at each greedy step.
    package let margins: [Double]
    /// Relative L2 distance of transformers' own bfloat16 logits from its float32 logits.
    package let bfloat16RelativeL2: Double

    private let arrays: [String: HostTensor]

    init(_ value: JSONValue, folder: String, arrays: [String: HostTensor]) throws {
        guard let object = value.objectValue else {
            throw CheckpointError(.malformed, source: folder, detail: "a case is no object")
        }
        let reader = ConfigReader(object, file: folder + "/golden.json")
        name = try reader.string("name")
        messages = object["messages"]?.arrayValue ?? []
        images = try reader.strings("images").map { folder + "/" + $0 }
        prompt = try reader.string("prompt")
        greedyTokens = try reader.ints("greedy_tokens").map { Int32($0) }
        margins = try reader.doubles("top2_margins")
        bfloat16RelativeL2 = try reader.double("bfloat16_relative_l2")
        let prefix = name + "."
        self.arrays = arrays.filter { $0.key.hasPrefix(prefix) }
    }

    package var inputIDs: [Int32] { get throws { try integers("input_ids") } }

    /// Whether the case has an array `key`.
    package func has(_ key: String) -> Bool { arrays["\(name).\(key)"] != nil }

    /// A float32 array of this case, such as `logits [T, V]`, `image_features [N, D]`, `pixel_values`, `layer.0 [T, D]`.
    package func floats(_ key: String) throws -> GoldenArray<Float> {
        let tensor = try array(key, .float32)
        return GoldenArray(dimensions: tensor.dimensions, values: tensor.loadAll(as: Float.self))
    }

    /// An int32 or int64 array of this case, such as `input_ids [T]`, `position_ids [3, T]`, `image_grid_thw [images, 3]`.
    package func integers(_ key: String) throws -> [Int32] {
        guard let tensor = arrays["\(name).\(key)"] else { throw missing(key) }
        switch tensor.dtype {
        case .int64: return tensor.loadAll(as: Int64.self).map { Int32($0) }
        default: return try array(key, .int32).loadAll(as: Int32.self)
        }
    }

    private func array(_ key: String, _ dtype: DType) throws -> HostTensor {
        guard let tensor = arrays["\(name).\(key)"], tensor.dtype == dtype else { throw missing(key) }
        return tensor
    }

    private func missing(_ key: String) -> CheckpointError {
        CheckpointError(.notFound, source: name, detail: "no array \(key) of the type asked for")
    }
}

/// An array of a golden file in row-major order.
package struct GoldenArray<Value: Sendable>: Sendable {
    package let dimensions: [Int]
    package let values: [Value]
}

extension HostTensor {
    /// The elements as they lie in memory, which must be of type `Value`.
    package func loadAll<Value: BitwiseCopyable>(as type: Value.Type) -> [Value] {
        let size = MemoryLayout<Value>.stride
        return withBytes { bytes in (0..<bytes.count / size).map { bytes.loadUnaligned(fromByteOffset: $0 * size, as: type) } }
    }
}

/// `‖value - reference‖ / ‖reference‖` in double precision; infinite when the counts differ or a value is not finite.
package func relativeL2(_ value: some Collection<Float>, _ reference: some Collection<Float>) -> Double {
    guard value.count == reference.count else { return .infinity }
    var (difference, norm) = (0.0, 0.0)
    for (a, b) in zip(value, reference) {
        difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        norm += Double(b) * Double(b)
    }
    guard difference.isFinite else { return .infinity }
    return norm == 0 ? (difference == 0 ? 0 : .infinity) : (difference / norm).squareRoot()
}

/// The largest absolute difference; infinite when the counts differ.
package func largestDifference(_ value: some Collection<Float>, _ reference: some Collection<Float>) -> Double {
    guard value.count == reference.count else { return .infinity }
    return zip(value, reference).reduce(0) { largest, pair in
        let difference = abs(Double(pair.0) - Double(pair.1))
        return difference.isNaN ? .infinity : max(largest, difference)
    }
}
