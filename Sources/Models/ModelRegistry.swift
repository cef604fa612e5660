package import Checkpoints
package import Layers
package import Tensors

/// A family of models and the published forms it loads; the README's table is made from these.
package struct ModelFamily: Sendable {
    package enum Input: String, Sendable { case text, images }

    package let name: String
    /// Values of `architectures` in config.json that this family loads.
    package let architectures: [String]
    /// Published checkpoint forms, in words.
    package let formats: String
    package let inputs: [Input]
    /// Devices on which the family's goldens pass.
    package let devicesTested: [String]
    /// Names in the files to names the family asks for, tried in order.
    package let rename: @Sendable (Checkpoint) -> [PrefixRename]
    package let build: @Sendable (Checkpoint, WeightLoader) throws -> LoadedModel

    package init(
        name: String, architectures: [String], formats: String, inputs: [Input], devicesTested: [String] = ["CPU", "H100"],
        rename: @escaping @Sendable (Checkpoint) -> [PrefixRename],
        build: @escaping @Sendable (Checkpoint, WeightLoader) throws -> LoadedModel
    ) {
        self.name = name
        self.architectures = architectures
        self.formats = formats
        self.inputs = inputs
        self.devicesTested = devicesTested
        self.rename = rename
        self.build = build
    }
}

/// Every family there is.
package enum ModelRegistry {
    package static let families: [ModelFamily] = [
        InternVL.family, InternVLChat.family, QwenVL.qwen2, QwenVL.qwen25, Qwen3VL.family,
        Llava.family, LlavaNext.family, LlavaOnevision.family, LlavaOriginal.family, Idefics3.family, Gemma3.family,
        Qwen2.family, Qwen3.family, Llama.family, Gemma.family2, Gemma.family3, Mistral.family, InternLM2.family,
    ]

    /// The family of a checkpoint, by `architectures` of its config.json.
    ///
    /// - Throws: ``ModelError`` of kind `unknownArchitecture` naming the architecture and what is supported.
    package static func family(of checkpoint: Checkpoint) throws(ModelError) -> ModelFamily {
        for architecture in checkpoint.architectures {
            if let family = families.first(where: { $0.architectures.contains(architecture) }) { return family }
        }
        let given = checkpoint.architectures.isEmpty ? "(none)" : checkpoint.architectures.joined(separator: ", ")
        let supported = families.flatMap(\.architectures).joined(separator: ", ")
        throw ModelError(
            .unknownArchitecture, subject: checkpoint.config.file,
            detail: "no family loads the architecture \(given); supported are \(supported)")
    }

    /// Builds the model without data: names and shapes are checked, parameters counted, and a forward pass can be planned.
    ///
    /// - Throws: `CheckpointError` listing every tensor that does not fit, ``ModelError`` for a configuration that cannot be run.
    package static func plan(_ checkpoint: Checkpoint, backend: PlanningBackend) throws -> LoadedModel {
        try build(checkpoint, backend: backend, totalParameters: 0, progress: nil).model
    }

    /// Checks the checkpoint, then places its weights on `backend`.
    ///
    /// - Parameters:
    ///   - planned: what ``plan(_:backend:)`` made of the same checkpoint, which then is not checked a second time.
    ///   - progress: called after each weight, on the caller's thread.
    package static func load(
        _ checkpoint: Checkpoint, backend: any Backend, planned: LoadedModel? = nil, progress: ((LoadProgress) -> Void)? = nil
    ) throws -> LoadedModel {
        if let planned {
            return try build(checkpoint, backend: backend, totalParameters: planned.parameterCount, progress: progress).model
        }
        let planner = PlanningBackend(
            device: backend.device, activationType: backend.activationType, cacheType: backend.cacheType, weightType: .float32)
        let total = try build(checkpoint, backend: planner, totalParameters: 0, progress: nil).parameterCount
        return try build(checkpoint, backend: backend, totalParameters: total, progress: progress).model
    }

    private static func build(
        _ checkpoint: Checkpoint, backend: any Backend, totalParameters: Int, progress: ((LoadProgress) -> Void)?
    ) throws -> (model: LoadedModel, parameterCount: Int) {
        let family = try family(of: checkpoint)
        let loader = WeightLoader(
            checkpoint: checkpoint, rename: family.rename(checkpoint), backend: backend, totalParameters: totalParameters,
            progress: progress)
        let model = try family.build(checkpoint, loader)
        try loader.finish()
        return (model, loader.parameterCount)
    }
}
