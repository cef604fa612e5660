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
    func file(_ path: String) throws -> Benchmark.Row {
        guard let processor = try setup.plan().model.imageProcessor else {
            throw EngineError(.unsupportedFeature, "\(setup.name) takes no images; leave --image out or give another model")
        }
        let config = setup.visionConfig
        let options = ImageOptions(maxTiles: config.maxTiles, minPixels: config.minPixels, maxPixels: config.maxPixels)
        let loader = ImageLoader(limits: setup.options.imageLimits)
        let seconds = try measure { _ = try processor.process(loader.loadBlocking(ImageSource(path)), options: options) }
        return Benchmark.Row(
            key: "file", label: "picture file to encoder input", seconds: seconds, amount: 1, unit: "pictures", operations: nil,
            bytes: nil)
    }

    /// A text to token ids.
    func tokenize(_ text: String) throws -> Benchmark.Row {
        let seconds = try measure { _ = try setup.tokenizer.encode(text, addSpecialTokens: false) }
        return Benchmark.Row(
            key: "tokenize", label: "encode \(text.utf8.count) bytes of text", seconds: seconds, amount: Double(text.utf8.count),
            unit: "bytes", operations: nil, bytes: nil)
    }

    /// Wall-clock seconds of each run, sorted; the first, which warms up, is not counted.
    private func measure(_ body: () throws -> Void) rethrows -> [Double] {
        let clock = ContinuousClock()
        var seconds: [Double] = []
        for run in 0...runs {
            let start = clock.now
            try body()
            if run > 0 { seconds.append((clock.now - start) / .seconds(1)) }
        }
        return seconds.sorted()
    }
}
