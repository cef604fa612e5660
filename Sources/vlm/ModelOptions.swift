import ArgumentParser
import Engine
import Foundation
import VLM

/// Options every command that loads a model takes.
struct ModelOptions: ParsableArguments {
    @Argument(help: "A checkpoint folder, a Hub id in the local cache, or demo.")
    var model: String

    @Option(help: "auto, cpu or cuda[:i]; auto, the default, takes a GPU where one can be used.")
    var device: String?

    @Option(help: "auto, float32, bfloat16 or float16. float32 on the CPU is the exact mode.")
    var dtype = "auto"

    @Option(help: "Longest prompt plus answer in tokens.")
    var sessionLen: Int?

    @Option(help: "Most requests that run together; 256 on a GPU and 16 on a CPU unless said otherwise.")
    var maxBatchSize: Int?

    @Option(help: "Share of free memory for the KV cache, up to 1; above 1 a count of blocks.")
    var cacheMaxEntryCount = 0.8

    @Option(help: "Positions in one KV block, a power of two.")
    var cacheBlockSeqLen = 64

    @Option(help: "Most tokens of prompts computed in one step.")
    var maxPrefillTokenNum: Int?

    @Option(help: "Most images the vision encoder takes at once.")
    var visionMaxBatchSize = 8

    @Option(help: "Bytes of image features that are kept for when an image comes again; 0 keeps none.")
    var visionCacheBytes: Int?

    @Option(help: "Most tiles of an image, for models that tile.")
    var maxTiles: Int?

    @Option(help: "Fewest pixels of an image after resizing, for models of native resolution.")
    var minPixels: Int?

    @Option(help: "Most pixels of an image after resizing, for models of native resolution.")
    var maxPixels: Int?

    @Option(help: "CPU threads.")
    var threads: Int?

    @Option(help: "dummy:SEED fills the checkpoint's shapes with random weights and reads no tensors.")
    var weights: String?

    @Option(help: "A file with a Jinja chat template to use instead of the checkpoint's.")
    var chatTemplate: String?

    @Flag(help: "Allow images from private and loopback addresses.")
    var allowPrivateAddresses = false

    func engineConfig() throws -> EngineConfig {
        guard let precision = EngineConfig.Precision(rawValue: dtype) else {
            throw ValidationError("--dtype \(dtype) is not known; use auto, float32, bfloat16 or float16")
        }
        return EngineConfig(
            device: try deviceChoice(), dtype: precision, sessionLen: sessionLen, maxBatchSize: maxBatchSize,
            cacheMaxEntryCount: cacheMaxEntryCount, cacheBlockSeqLen: cacheBlockSeqLen, maxPrefillTokenNum: maxPrefillTokenNum,
            threads: threads)
    }

    private func deviceChoice() throws -> EngineConfig.DeviceChoice {
        let device = device ?? "auto"
        switch device {
        case "auto": return .auto
        case "cpu": return .cpu
        case "cuda": return .cuda(0)
        default:
            guard device.hasPrefix("cuda:"), let index = Int(device.dropFirst(5)), index >= 0 else {
                throw ValidationError("--device \(device) is not known; use auto, cpu, cuda or cuda:0")
            }
            return .cuda(index)
        }
    }

    func visionConfig() -> VisionConfig {
        VisionConfig(
            maxBatchSize: visionMaxBatchSize, maxTiles: maxTiles, minPixels: minPixels, maxPixels: maxPixels,
            cacheBytes: visionCacheBytes)
    }

    func pipelineOptions() throws -> PipelineOptions {
        var options = PipelineOptions()
        options.imageLimits.allowPrivateAddresses = allowPrivateAddresses
        if let weights {
            let parts = weights.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0] == "dummy", let seed = UInt64(parts[1]) else {
                throw ValidationError("--weights \(weights) is not known; use dummy:SEED, such as dummy:0")
            }
            options.weights = .dummy(seed: seed)
        }
        if let chatTemplate { options.chatTemplate = try readText(chatTemplate) }
        return options
    }

    /// Loads the model, with a progress bar for a person who waits.
    func load() async throws -> Pipeline {
        let bar = ProgressBar("Loading \(model)")
        defer { bar.clear() }
        let progress: @Sendable (Double) -> Void = { bar.update($0) }
        let pipeline = try await Pipeline(
            model: model, engineConfig: try engineConfig(), visionConfig: visionConfig(), options: try pipelineOptions(),
            progress: Terminal.errorIsTerminal ? progress : nil)
        // Who asked for the best device wants to know why it is the CPU.
        if device != nil, let note = pipeline.setup.placement.note {
            bar.clear()
            Terminal.error(note)
        }
        return pipeline
    }

    /// What is known of the model before its weights are loaded.
    func setup() throws -> PipelineSetup {
        try PipelineSetup(
            model: model, engineConfig: try engineConfig(), visionConfig: visionConfig(), options: try pipelineOptions())
    }
}

/// Reads a messages file; `parse` gets its text and the folder that relative image paths are meant from.
///
/// - Throws: `ValidationError` naming the file and what is wrong in it.
func readMessages<Parsed>(_ path: String, _ parse: (String, String) throws -> Parsed) throws -> Parsed {
    let text = try readText(path)
    do {
        return try parse(text, URL(fileURLWithPath: path).deletingLastPathComponent().path)
    } catch let error as PromptError {
        throw ValidationError("\(path): \(error)")
    }
}

/// The text of a file or of a pipe, such as `/dev/stdin`.
///
/// - Throws: `ValidationError` when it is missing, a folder or a device, or not UTF-8.
func readText(_ path: String) throws -> String {
    var status = stat()
    guard stat(path, &status) == 0, [S_IFREG, S_IFIFO].contains(status.st_mode & S_IFMT),
        let file = FileHandle(forReadingAtPath: path)
    else { throw ValidationError("\(path) cannot be read; check the path and its permissions") }
    let data = try file.readToEnd() ?? Data()
    guard let text = String(validating: data, as: UTF8.self) else { throw ValidationError("\(path) is not UTF-8 text") }
    return text
}
