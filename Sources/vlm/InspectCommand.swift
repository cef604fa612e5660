import ArgumentParser
import CPUBackend
import Checkpoints
import Engine
import Foundation
import JSON
import Layers
import Models
import Tensors
import VLM

/// `vlm inspect`: what a checkpoint is and what it needs.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show a model's family, parameters, types and memory plan without loading it.")

    @OptionGroup var model: ModelOptions
    @Option(help: "text or json.")
    var output = RunCommand.Output.text

    func run() throws {
        let setup = try model.setup()
        let (plan, loaded) = try setup.plan()
        var types: [String: Int] = [:]
        for name in setup.checkpoint.tensorNames {
            if let tensor = setup.checkpoint.tensor(name) { types[tensor.dtype.rawValue, default: 0] += tensor.count }
        }
        let vision = loaded.vision.map { $0.parameterCount } ?? 0
        let layout = loaded.language.cacheLayout
        let rows: [(key: String, label: String, value: JSONValue, text: String)] = [
            ("folder", "folder", .string(setup.folder), setup.folder),
            ("family", "family", .string(loaded.family), loaded.family),
            (
                "architectures", "architecture", .array(setup.checkpoint.architectures.map { .string($0) }),
                setup.checkpoint.architectures.joined(separator: ", ")
            ),
            (
                "parameters", "parameters", .integer(loaded.parameterCount),
                "\(Self.millions(loaded.parameterCount)) (language \(Self.millions(loaded.language.parameterCount)), vision \(Self.millions(vision)))"
            ),
            (
                "dtypes", "types in the files",
                .object(JSONObject(types.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })),
                types.sorted { $0.key < $1.key }.map { "\($0.key) \(Self.millions($0.value))" }.joined(separator: ", ")
            ),
            ("device", "device", .string("\(setup.placement.device)"), setup.placement.description),
            ("vocabulary", "vocabulary", .integer(loaded.language.vocabularySize), "\(loaded.language.vocabularySize)"),
            ("layers", "layers", .integer(layout.layers), "\(layout.layers), \(layout.kvHeads) KV heads of \(layout.headSize)"),
            ("weight_bytes", "weights", .integer(plan.weightBytes), MemoryPlan.format(plan.weightBytes)),
            (
                "activation_bytes", "activations", .integer(plan.activationBytes),
                "\(MemoryPlan.format(plan.activationBytes)) for \(plan.maxPrefillTokens) tokens a step"
            ),
            (
                "vision_bytes", "vision workspace", .integer(plan.visionBytes),
                "\(MemoryPlan.format(plan.visionBytes)) for at most \(setup.visionConfig.maxBatchSize) images a pass"
            ),
            (
                "feature_bytes", "image features", .integer(plan.featureBytes + plan.featureCacheBytes),
                "\(MemoryPlan.format(plan.featureBytes)) for a step and a session, "
                    + "\(MemoryPlan.format(plan.featureCacheBytes)) to keep"
            ),
            ("scratch_bytes", "scratch", .integer(plan.scratchBytes), MemoryPlan.format(plan.scratchBytes)),
            (
                "cache_bytes", "KV cache", .integer(plan.cacheBytes),
                "\(MemoryPlan.format(plan.cacheBytes)): \(plan.blockCount) blocks of \(plan.blockSize) tokens"
            ),
            ("free_bytes", "free memory", .integer(plan.freeBytes), MemoryPlan.format(plan.freeBytes)),
            ("session_len", "session", .integer(plan.sessionLen), "\(plan.sessionLen) tokens"),
            ("max_batch_size", "batch", .integer(plan.maxBatchSize), "\(plan.maxBatchSize) requests"),
        ]
        switch output {
        case .json: print(JSONValue.object(JSONObject(rows.map { ($0.key, $0.value) })).serialized(indent: 2))
        case .text:
            for row in rows { print(row.label.padding(toLength: 20, withPad: " ", startingAt: 0) + row.text) }
        }
    }

    private static func millions(_ count: Int) -> String {
        count >= 1_000_000_000
            ? "\((Double(count) / 1e7).rounded() / 100) B" : "\((Double(count) / 1e4).rounded() / 100) M"
    }
}
