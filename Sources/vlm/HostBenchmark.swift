import Engine
import Foundation
import Imaging
import Models
import Text
import VLM

/// Times what happens to a request before the model sees it; no weights are needed.
struct HostBenchmark {
    let setup: PipelineSetup
    let runs: Int

    /// A picture file to what the vision encoder reads: reading, decoding, resizing, cutting, normalising.
    func file(_ path: String) async throws -> Benchmark.Row {
        guard let processor = try setup.outline().imageProcessor else {
            throw EngineError(.unsupportedFeature, "\(setup.name) takes no images; leave --image out or give another model")
        }
        let options = setup.visionConfig.imageOptions
        let loader = ImageLoader(limits: setup.options.imageLimits)
        let seconds = try await Benchmark.measure(runs: runs) { _ in
            // Normalised patches too, which a request leaves to the encoder's device.
            _ = try processor.process(loader.loadBlocking(ImageSource(path)), options: options).pixels
        }
        return Benchmark.Row(
            key: "file", label: "picture file to encoder input", seconds: seconds, amount: 1, unit: "pictures", operations: nil,
            bytes: nil)
    }

    /// A text to token ids.
    func tokenize(_ text: String) async throws -> Benchmark.Row {
        let seconds = try await Benchmark.measure(runs: runs) { _ in
            _ = try setup.tokenizer.encode(text, addSpecialTokens: false)
        }
        return Benchmark.Row(
            key: "tokenize", label: "encode \(text.utf8.count) bytes of text", seconds: seconds, amount: Double(text.utf8.count),
            unit: "bytes", operations: nil, bytes: nil)
    }
}
