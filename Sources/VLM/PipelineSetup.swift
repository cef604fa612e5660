package import CPUBackend
import CUDABackend
package import Checkpoints
package import Engine
import Foundation
import Imaging
import JSON
import Layers
package import Models
import Tensors
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
    package let placement: Placement
    /// What the CPU's backend holds, for tests of closing.
    package let memory = HostMemoryLedger()

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
        placement = try Placement(engineConfig, checkpointType: PipelineSetup.halfType(checkpoint), cuda: options.cuda)
        chatTemplate =
            try options.chatTemplate.map { try ChatTemplate(source: $0, name: "chat template") } ?? .load(folder: folder)
    }

    /// The checkpoint folder of what a user calls a model.
    ///
    /// - Throws: `CheckpointError` saying where it looked.
    package static func folder(of model: String) throws -> String {
        try DemoModel.isName(model) ? DemoModel.folder() : ModelResolver.resolve(model)
    }

    /// The 16-bit type that config.json says the weights have; published checkpoints that say nothing are float32.
    private static func halfType(_ checkpoint: Checkpoint) -> DType? {
        let text = checkpoint.config.value("text_config") ?? checkpoint.config.value("llm_config")
        let type =
            (checkpoint.config.value("dtype") ?? checkpoint.config.value("torch_dtype") ?? text?["dtype"] ?? text?["torch_dtype"])?
            .stringValue
        return type.flatMap(DType.init(rawValue:)).flatMap { [.bfloat16, .float16].contains($0) ? $0 : nil }
    }

    /// What image processors look at.
    package var imageOptions: ImageOptions {
        var options = visionConfig.imageOptions
        options.leavesResizing = placement.device != .cpu
        return options
    }

    /// The same for tokenizers that spell alike: their size, and how they spell a text of many kinds of characters.
    var tokenizerMark: String {
        let probe = "Hello, world!  2024\n\t\u{E9}\u{4F60}\u{1F600} <|im_end|></s><eos> aren't_CamelCase 3.14"
        let ids = (try? tokenizer.encode(probe, addSpecialTokens: true)) ?? []
        return "\(tokenizer.vocabularySize):" + ids.map { "\($0)" }.joined(separator: ",")
    }

    /// A backend without memory that stands in for the device.
    private func planner() -> PlanningBackend {
        PlanningBackend(
            device: placement.device, activationType: placement.activationType, cacheType: placement.cacheType,
            weightType: placement.weightType)
    }

    /// The model without its weights: names and shapes checked, parameters counted.
    package func outline() throws -> LoadedModel { try ModelRegistry.plan(checkpoint, backend: planner()) }

    /// Plans memory on a backend without memory; nothing large is allocated.
    package func plan() throws -> (plan: MemoryPlan, model: LoadedModel) {
        guard let libraries = placement.libraries, case .cuda(let index) = placement.device else {
            return try plan(freeBytes: HostMemory.availableBytes, overheadBytes: 0)
        }
        return try plan(
            freeBytes: try CUDABackend.freeBytes(libraries, index: index), overheadBytes: CUDABackend.overheadBytes)
    }

    private func plan(freeBytes: Int, overheadBytes: Int) throws -> (plan: MemoryPlan, model: LoadedModel) {
        let planner = planner()
        let model = try ModelRegistry.plan(checkpoint, backend: planner)
        let plan = try MemoryPlan(
            model: model, planner: planner, config: engineConfig, vision: visionConfig, freeBytes: freeBytes,
            overheadBytes: overheadBytes)
        return (plan, model)
    }

    /// Loads the weights and allocates what the plan says. Runs on the engine's executor.
    func makeCore(progress: (@Sendable (Double) -> Void)?) throws -> (core: EngineCore, prompting: ModelPrompting) {
        let (backend, plan, planned) = try makeBackend()
        let model = try ModelRegistry.load(
            checkpoint, backend: backend, planned: planned, progress: progress.map { report in { report($0.fraction) } })
        let stopTokens = stopTokens(of: model)
        let core = try EngineCore(
            model: model, plan: plan, backend: backend, tokenizer: tokenizer, stopTokens: stopTokens,
            vision: visionConfig, config: engineConfig)
        try core.warmUp()
        checkpoint.releasePages()
        return (core, ModelPrompting(model, stopTokens: stopTokens))
    }

    private func makeBackend() throws -> (backend: any Backend, plan: MemoryPlan, model: LoadedModel) {
        guard let libraries = placement.libraries, case .cuda(let index) = placement.device else {
            let (plan, model) = try plan()
            return (try CPUBackend(threads: engineConfig.threads, mode: placement.cpuMode, ledger: memory), plan, model)
        }
        let backend = try CUDABackend(
            index: index, activationType: placement.activationType, options: options.cuda, libraries: libraries)
        // The buffers it has are taken by now; what comes later is not.
        let (plan, model) = try plan(freeBytes: try backend.freeBytes(), overheadBytes: CUDABackend.reserveBytes)
        backend.prepareKernels(headSizes: [model.language.cacheLayout.headSize])
        return (backend, plan, model)
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
    /// Width of the logits.
    let vocabularySize: Int
    let stopTokens: Set<Int32>

    init(_ model: LoadedModel, stopTokens: Set<Int32>) {
        family = model.family
        rule = model.promptRule
        imageProcessor = model.imageProcessor
        vocabularySize = model.language.vocabularySize
        self.stopTokens = stopTokens
    }
}
