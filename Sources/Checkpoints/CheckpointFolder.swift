import Foundation
import JSON

/// What a checkpoint folder must hold.
enum CheckpointFolder {
    /// Fails early, with the list of what is missing, when `folder` cannot be a checkpoint.
    static func check(_ folder: String, weights: WeightsMode) throws {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isDirectory) else {
            throw CheckpointError(.notFound, source: folder, detail: "there is no such folder")
        }
        guard isDirectory.boolValue else {
            throw CheckpointError(
                .notACheckpoint, source: folder, detail: "it is a file", hint: "Give the folder that holds config.json")
        }
        var missing: [String] = []
        if !exists(folder, "config.json") { missing.append("config.json") }
        if weights == .file, !hasWeights(folder) { missing.append("model.safetensors (or model.safetensors.index.json)") }
        guard !missing.isEmpty else { return }
        if missing.count == 1, missing[0] != "config.json" { throw weightsMissing(folder) }
        throw CheckpointError(
            .notACheckpoint, source: folder,
            detail: "this is not a checkpoint folder: \(missing.joined(separator: " and ")) missing",
            hint: "A checkpoint folder holds config.json, safetensors files and the tokenizer's files")
    }

    static func weightsMissing(_ folder: String) -> CheckpointError {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let pickles = entries.filter {
            $0.hasSuffix(".bin") || $0.hasSuffix(".pt") || $0.hasSuffix(".pth") || $0.hasSuffix(".gguf")
        }
        return CheckpointError(
            .notACheckpoint, source: folder, detail: "there is no model.safetensors and no model.safetensors.index.json",
            hint: pickles.isEmpty
                ? "Download the weights, or use --weights dummy:SEED to run without them"
                : "\(pickles.sorted()[0]) cannot be loaded; convert the checkpoint to safetensors")
    }

    /// The root object of a configuration file, or nil when the folder does not have it.
    static func config(_ folder: String, _ name: String) throws -> ConfigReader? {
        exists(folder, name) ? try ConfigReader(contentsOf: folder + "/" + name) : nil
    }

    private static func hasWeights(_ folder: String) -> Bool {
        exists(folder, "model.safetensors") || exists(folder, "model.safetensors.index.json")
    }

    private static func exists(_ folder: String, _ name: String) -> Bool {
        FileManager.default.fileExists(atPath: folder + "/" + name)
    }
}
