import Layers
package import Models
package import Tensors

/// Counts the work of passes, so that measured times can be held against a machine's ceilings.
package struct WorkEstimate {
    private let model: LoadedModel
    private let planner: PlanningBackend
    private let blockSize = 64

    /// - Parameter model: built on a ``PlanningBackend`` or loaded; its tensors are not read.
    package init(model: LoadedModel, weightType: DType, cacheType: DType) {
        self.model = model
        planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: cacheType, weightType: weightType)
    }

    /// One sequence's pass of `tokens` new tokens after `cached` ones, with the logits of its last.
    package func language(tokens: Int, cached: Int) throws -> PlanningBackend.Work {
        try counting { context in
            let cache = try KVCache(layout: model.language.cacheLayout, blockCount: 1, blockSize: blockSize, backend: planner)
            var batch = ForwardBatch()
            batch.tokenIDs = [Int32](repeating: 0, count: tokens)
            batch.positions = Array(repeating: batch.tokenIDs, count: model.language.positionAxes)
            batch.slots = batch.tokenIDs
            batch.outputRows = [Int32(tokens - 1)]
            batch.queryStarts = [0, Int32(tokens)]
            batch.contextLengths = [Int32(tokens + cached)]
            batch.maxBlocks = (tokens + cached + blockSize - 1) / blockSize
            batch.blockTables = [Int32](repeating: 0, count: batch.maxBlocks)
            _ = try model.language.logits(
                try model.language.forward(batch, cache: cache, context: context), context: context)
        }
    }

    /// Encoding one image.
    package func vision(_ image: ProcessedImage) throws -> PlanningBackend.Work {
        try counting { context in
            guard let encoder = model.vision else { return }
            let features = try context.activations(Shape(image.tokenCount, encoder.featureSize))
            try encoder.encode([image], context: context, into: [features])
        }
    }

    private func counting(_ body: (ForwardContext) throws -> Void) throws -> PlanningBackend.Work {
        let before = planner.work
        try body(ForwardContext(backend: planner, workspace: try Workspace(backend: planner, byteCount: 1 << 50)))
        let after = planner.work
        return PlanningBackend.Work(
            operations: after.operations - before.operations, weightBytes: after.weightBytes - before.weightBytes,
            cacheBytes: after.cacheBytes - before.cacheBytes)
    }
}
