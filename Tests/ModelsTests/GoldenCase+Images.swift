import Checkpoints
import Foundation
import Imaging
import JSON
import Models
import TestKit

extension GoldenCase {
    /// The pictures of the case through the family's image strategy.
    func processedImages(_ model: LoadedModel, options: ImageOptions = ImageOptions()) throws -> [ProcessedImage] {
        guard let processor = model.imageProcessor else { return [] }
        var options = options
        options.pictureCount = images.count
        return try images.map { try processor.process(try ImageDecoder.decode(try readFile($0)), options: options) }
    }

    /// The same images with the reference's pixels where the golden keeps them, so that a model is judged apart from
    /// preprocessing.
    func referenceImages(_ model: LoadedModel) throws -> [ProcessedImage] {
        let images = try processedImages(model)
        guard has("pixel_values") else { return images }
        let pixels = try floats("pixel_values").values
        precondition(pixels.count == images.reduce(0) { $0 + $1.pixels.count }, "the reference has other images")
        var start = 0
        return images.map { image in
            defer { start += image.pixels.count }
            return image.with(pixels: Array(pixels[start..<start + image.pixels.count]))
        }
    }
}

extension Golden {
    func open(weights: WeightsMode = .file) throws -> Checkpoint { try Checkpoint(folder: checkpoint, weights: weights) }

    /// A copy of the checkpoint with JSON files changed, opened; its files stay mapped after they are deleted.
    func edited(
        _ config: @escaping (inout JSONObject) -> Void, files: [(name: String, edit: (inout JSONObject) -> Void)] = [],
        replacing: [(name: String, bytes: Data)] = []
    ) throws -> Checkpoint {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("models-\(UUID().uuidString)")
        try FileManager.default.copyItem(atPath: checkpoint, toPath: folder.path)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, edit) in [("config.json", config)] + files {
            let file = folder.appendingPathComponent(name)
            guard var object = try JSONValue(contentsOf: file.path).objectValue else { continue }
            edit(&object)
            try JSONValue.object(object).serialized().write(to: file, atomically: true, encoding: .utf8)
        }
        for (name, bytes) in replacing { try bytes.write(to: folder.appendingPathComponent(name)) }
        return try Checkpoint(folder: folder.path)
    }

    /// The id of image features, from the model's rule or the tokenizer's configuration.
    func imageTokenID(_ model: LoadedModel) throws -> Int32? {
        let tokens = try open().tokenizerConfig?.value("added_tokens_decoder")?.objectValue
        return try model.promptRule?.imageTokenID { wanted in
            guard let tokens else { return nil }
            for (key, value) in tokens where value["content"]?.stringValue == wanted { return Int32(key) }
            return nil
        }
    }
}
