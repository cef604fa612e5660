package import CPUBackend
package import Checkpoints
package import Engine
import Foundation
import Imaging
import JSON
import Layers
package import Models
package import Tensors
package import Text

/// Everything about a model that is read before its weights: folder, configuration, tokenizer, template, memory plan.
package struct PipelineSetup: Sendable {
    package let name: String
    package let folder: String
    package let engineConfig: EngineConfig
    package let visionConfig: VisionConfig
    package let options: PipelineOptions
    package let checkpoint: Checkpoint
    package let tokenizer: any Tokenizer
    package let chatTemplate: ChatTemplate?

    /// - Throws: errors naming file and path when the checkpoint cannot be used, ``EngineError`` for a bad option.
    package init(
        model: String, engineConfig: EngineConfig, visionConfig: VisionConfig, options: PipelineOptions
    ) throws {
        try engineConfig.validate()
        try visionConfig.validate()
        name = model
        self.engineConfig = engineConfig
        self.visionConfig = visionConfig
        self.options = options
        folder = try PipelineSetup.folder(of: model)
        let weights: WeightsMode =
            switch options.weights {
            case .checkpoint: .file
            case .dummy(let seed): .dummy(seed: seed)
            }
        checkpoint = try Checkpoint(folder: folder, weights: weights)
        // An unknown architecture is the first thing to tell: its tokenizer may be unknown too.
        _ = try ModelRegistry.family(of: checkpoint)
        tokenizer = try TokenizerLoader.load(folder: folder)
        chatTemplate =
            try options.chatTemplate.map { try ChatTemplate(source: $0, name: "chat template") } ?? .load(folder: folder)
    }

    /// The checkpoint folder of what a user calls a model.
    ///
    /// - Throws: `CheckpointError` saying where it looked.
    package static func folder(of model: String) throws -> String {
        try DemoModel.isName(model) ? DemoModel.folder() : ModelResolver.resolve(model)
    }

    /// The device that is meant.
    ///
    /// - Throws: ``EngineError`` when it is not there.
    package func device() throws(EngineError) -> Device {
        switch engineConfig.device {
        case .auto, .cpu: .cpu
        case .cuda(let index):
            throw EngineError(
                .unsupportedFeature, "this version has no CUDA backend, so cuda:\(index) cannot be used; use --device cpu or auto"
            )
        }
    }

    /// How the CPU computes: exactly in float32, or fast in bfloat16.
    package func mode() throws(EngineError) -> CPUBackend.Mode {
        switch engineConfig.dtype {
        case .float32: .exact
        case .auto: try isHalfPrecision() ? .fast : .exact
        case .bfloat16: .fast
        case .float16:
            throw EngineError(
                .unsupportedFeature, "the CPU computes in float32 or bfloat16; use --dtype bfloat16, or auto, for this checkpoint"
            )
        }
    }

    /// Whether config.json says that the weights are 16-bit; published checkpoints that say nothing are float32.
    private func isHalfPrecision() throws(EngineError) -> Bool {
        let text = checkpoint.config.value("text_config") ?? checkpoint.config.value("llm_config")
        let type =
            (checkpoint.config.value("dtype") ?? checkpoint.config.value("torch_dtype") ?? text?["dtype"] ?? text?["torch_dtype"])?
            .stringValue
        return type == "bfloat16" || type == "float16"
    }

    /// Plans memory on a backend without memory; nothing large is allocated.
    package func plan() throws -> (plan: MemoryPlan, model: LoadedModel) {
        let device = try device()
        let mode = try mode()
        let planner = PlanningBackend(
            device: device, activationType: .float32, cacheType: mode == .exact ? .float32 : .bfloat16,
            weightType: mode == .exact ? .float32 : .bfloat16)
        let model = try ModelRegistry.plan(checkpoint, backend: planner)
        let plan = try MemoryPlan(
            model: model, planner: planner, config: engineConfig, vision: visionConfig, freeBytes: HostMemory.availableBytes)
        return (plan, model)
    }

    /// Loads the weights and allocates what the plan says. Runs on the engine's executor.
    func makeCore(progress: (@Sendable (Double) -> Void)?) throws -> (core: EngineCore, prompting: ModelPrompting) {
        let (plan, planned) = try plan()
        let backend = try CPUBackend(threads: engineConfig.threads, mode: try mode())
        let model = try ModelRegistry.load(
            checkpoint, backend: backend, planned: planned, progress: progress.map { report in { report($0.fraction) } })
        let core = try EngineCore(
            model: model, plan: plan, backend: backend, tokenizer: tokenizer, stopTokens: stopTokens(of: model),
            vision: visionConfig)
        return (core, ModelPrompting(model))
    }

    /// The checkpoint's end-of-sequence tokens, or the tokenizer's where the checkpoint names none.
    private func stopTokens(of model: LoadedModel) -> Set<Int32> {
        if !model.eosTokenIDs.isEmpty { return Set(model.eosTokenIDs) }
        return Set([tokenizer.eosToken.flatMap(tokenizer.tokenID)].compactMap { $0 })
    }
}

/// What preparing a prompt needs to know of a loaded model.
struct ModelPrompting: Sendable {
    let family: String
    let rule: PromptRule?
    let imageProcessor: (any ImageProcessor)?

    init(_ model: LoadedModel) {
        family = model.family
        rule = model.promptRule
        imageProcessor = model.imageProcessor
    }
}
