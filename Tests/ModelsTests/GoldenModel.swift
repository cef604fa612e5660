import Checkpoints
import Imaging
import JSON
import Models
import Tensors
import TestKit

/// A tiny checkpoint under `Tests/Fixtures/models` and what transformers computed with it.
struct GoldenModel {
    struct Case {
        let name: String
        let images: [String]
        let greedyTokens: [Int32]
        /// Difference of the two largest logits at each greedy token.
        let margins: [Double]
        /// Relative L2 of transformers' own bfloat16 logits against its float32 ones.
        let bfloat16Error: Double?
    }

    let name: String
    let cases: [Case]
    private let values: SafetensorsFile

    init(_ name: String) throws {
        self.name = name
        values = try SafetensorsFile(path: Fixtures.path("models/\(name)/golden.safetensors"))
        let root = try Fixtures.json("models/\(name)/golden.json")
        cases = (root["cases"]?.arrayValue ?? []).map { each in
            Case(
                name: each["name"]?.stringValue ?? "",
                images: (each["images"]?.arrayValue ?? []).compactMap { $0.stringValue },
                greedyTokens: (each["greedy_tokens"]?.arrayValue ?? []).compactMap { $0.intValue }.map { Int32($0) },
                margins: (each["top2_margins"]?.arrayValue ?? []).compactMap { $0.doubleValue },
                bfloat16Error: each["bfloat16_relative_l2"]?.doubleValue)
        }
    }

    func checkpoint(weights: WeightsMode = .file) throws -> Checkpoint {
        try Checkpoint(folder: Fixtures.path("models/\(name)/checkpoint"), weights: weights)
    }

    /// The value `case.key`, or nil.
    func floats(_ golden: Case, _ key: String) -> [Float]? {
        guard let tensor = values.tensor("\(golden.name).\(key)"), tensor.dtype == .float32 else { return nil }
        return tensor.bytes.withMemoryRebound(to: Float.self) { Array($0) }
    }

    func integers(_ golden: Case, _ key: String) -> [Int32]? {
        guard let tensor = values.tensor("\(golden.name).\(key)") else { return nil }
        if tensor.dtype == .int64 { return tensor.bytes.withMemoryRebound(to: Int64.self) { $0.map { Int32($0) } } }
        return tensor.bytes.withMemoryRebound(to: Int32.self) { Array($0) }
    }

    /// The pictures of a case, through the family's image strategy.
    func processedImages(_ golden: Case, _ model: LoadedModel, options: ImageOptions = ImageOptions()) throws -> [ProcessedImage]
    {
        guard let processor = model.imageProcessor else { return [] }
        return try golden.images.map { name in
            let file = name.split(separator: "/").last.map(String.init) ?? name
            let picture = try ImageDecoder.decode(try Fixtures.bytes("models/images/\(file)"))
            return try processor.process(picture, options: options)
        }
    }

    /// The same images with the reference's pixels where the golden keeps them, so that a model can be judged apart from
    /// preprocessing.
    func referenceImages(_ golden: Case, _ model: LoadedModel) throws -> [ProcessedImage] {
        let images = try processedImages(golden, model)
        guard let pixels = floats(golden, "pixel_values") else { return images }
        precondition(pixels.count == images.reduce(0) { $0 + $1.pixels.count }, "the reference has other images")
        var start = 0
        return images.map { image in
            defer { start += image.pixels.count }
            return ProcessedImage(
                pixels: Array(pixels[start..<start + image.pixels.count]), dimensions: image.dimensions, grid: image.grid,
                tokenCount: image.tokenCount)
        }
    }

    /// The id of image features, from the model's rule or the tokenizer's files.
    func imageTokenID(_ model: LoadedModel) throws -> Int32? {
        let tokens = try checkpoint().tokenizerConfig?.value("added_tokens_decoder")?.objectValue
        return try model.promptRule?.imageTokenID { wanted in
            guard let tokens else { return nil }
            for (key, value) in tokens where value["content"]?.stringValue == wanted { return Int32(key) }
            return nil
        }
    }
}

/// `|a - b| / |b|` in L2.
func relativeError(_ values: some Collection<Float>, _ reference: some Collection<Float>) -> Double {
    guard values.count == reference.count else { return .infinity }
    var (difference, norm) = (0.0, 0.0)
    for (a, b) in zip(values, reference) {
        difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        norm += Double(b) * Double(b)
    }
    return (difference / max(norm, 1e-30)).squareRoot()
}
