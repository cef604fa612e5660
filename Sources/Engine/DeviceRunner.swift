import Layers
import Tensors

/// Runs passes that end in tokens chosen on the device, without waiting for them.
///
/// A decoding step of a few sequences is a fixed list of kernels over fixed addresses, so it is recorded once for each batch size and
/// replayed; sizes in between are padded with rows that write nothing.
package final class DeviceRunner {
    /// A pass whose tokens are not known yet.
    struct Submitted {
        let entries: [PassEntry]
        /// Place of each entry's token in the sampler's results, -1 where it chooses none.
        let results: [Int]
        let mark: any StreamMark
    }

    private let model: any LanguageModel
    private let cache: KVCache
    private let context: ForwardContext
    private let backend: any AsynchronousBackend
    private let plan: MemoryPlan
    private let sampler: any DeviceSampler

    /// What one recorded step depends on beside its inputs.
    private struct StepKey: Hashable {
        let size: Int
        let kind: SamplingKind
    }

    private struct RecordedStep {
        let work: any RecordedWork
        let inputs: PassInputs
    }

    private var steps: [StepKey: RecordedStep] = [:]
    /// Memory of each recorded step's inputs.
    private var inputMemory: [any DeviceBuffer] = []
    private var nextResult = 0

    // Kept to reuse their memory.
    private var words: [Int32] = []
    private var sampling: [Int32] = []

    init(
        model: any LanguageModel, cache: KVCache, context: ForwardContext, backend: any AsynchronousBackend, plan: MemoryPlan
    ) throws {
        self.model = model
        self.cache = cache
        self.context = context
        self.backend = backend
        self.plan = plan
        sampler = try backend.makeSampler(lanes: plan.maxBatchSize, vocabularySize: model.vocabularySize)
    }

    /// Submits a pass. Its positions may count as cached when this returns.
    func submit(_ batch: inout ForwardBatch, _ entries: [PassEntry]) throws -> Submitted {
        sampling.removeAll(keepingCapacity: true)
        var kind = SamplingKind.greedy
        var results: [Int] = []
        results.reserveCapacity(entries.count)
        for entry in entries {
            guard !entry.outputs.isEmpty else {
                results.append(-1)
                continue
            }
            let row = entry.sequence.samplingRow(result: Int32(nextResult))
            if row.needsFullSampling { kind = .full }
            if row.repetitionPenalty != 1 { try entry.sequence.tellSeenTokens(to: sampler) }
            row.append(to: &sampling)
            results.append(nextResult)
            nextResult = (nextResult + 1) % sampler.resultCount
        }
        if isDecodingStep(batch, entries) {
            try replay(&batch, kind: kind)
        } else {
            try run(&batch, kind: kind)
        }
        for entry in entries where !entry.outputs.isEmpty { entry.sequence.inFlight += 1 }
        return Submitted(entries: entries, results: results, mark: try backend.mark())
    }

    /// Waits for a pass and hands its tokens to their sequences.
    func collect(
        _ pass: Submitted, finished: (SequenceState) -> Void, failed: (SequenceState, any Error) -> Void
    ) throws {
        try pass.mark.wait()
        for (entry, result) in zip(pass.entries, pass.results) where result >= 0 {
            let sequence = entry.sequence
            sequence.inFlight -= 1
            // A sequence that ended since has tokens under way that nobody wants.
            guard !sequence.isDone else { continue }
            do {
                if try !sequence.accept(sampler.results[result]) { finished(sequence) }
            } catch {
                failed(sequence, error)
            }
        }
    }

    // MARK: Passes

    private func isDecodingStep(_ batch: ForwardBatch, _ entries: [PassEntry]) -> Bool {
        backend.recordsWork && model.canBeRecorded && batch.tokenCount == entries.count && batch.outputRows.count == entries.count
            && batch.imageSpans.isEmpty
    }

    private func run(_ batch: inout ForwardBatch, kind: SamplingKind) throws {
        let chooses = !batch.outputRows.isEmpty
        try context.workspace.scope {
            batch.pack(into: &words, extra: sampling)
            let layout = batch.layout(extraWords: chooses ? SamplingRow.words : 0)
            batch.inputs = PassInputs(layout, in: try context.upload(words))
            try compute(batch, kind: kind, rowsAtOnce: plan.maxBatchSize)
        }
    }

    /// The pass over a placed batch, and the choice of its tokens.
    private func compute(_ batch: ForwardBatch, kind: SamplingKind, rowsAtOnce: Int) throws {
        guard let inputs = batch.inputs else { return }
        var batch = batch
        batch.lanes = sampler.newest
        let hidden = try model.forward(batch, cache: cache, context: context)
        for first in stride(from: 0, to: hidden.rows, by: rowsAtOnce) {
            let rows = first..<min(first + rowsAtOnce, hidden.rows)
            try context.workspace.scope {
                let logits = try model.logits(hidden.rows(rows), context: context)
                try sampler.sample(logits, rows: inputs.extra.rows(rows), kind: kind)
            }
        }
    }

    // MARK: Recorded steps

    /// Batch sizes that are recorded: small ones exactly, larger ones to the next of a few.
    package static func recordedSize(_ count: Int, limit: Int) -> Int {
        let size =
            switch count {
            case ...4: count
            case ...16: (count + 3) / 4 * 4
            case ...64: (count + 7) / 8 * 8
            default: (count + 31) / 32 * 32
            }
        return min(size, max(limit, count))
    }

    private func replay(_ batch: inout ForwardBatch, kind: SamplingKind) throws {
        let size = DeviceRunner.recordedSize(batch.tokenCount, limit: plan.maxBatchSize)
        let step = try recordedStep(size: size, kind: kind)
        batch.pad(to: step.inputs.layout)
        pack(batch)
        try words.withUnsafeBytes { try backend.upload($0, to: step.inputs.memory) }
        try backend.replay(step.work)
    }

    private func recordedStep(size: Int, kind: SamplingKind) throws -> RecordedStep {
        let key = StepKey(size: size, kind: kind)
        if let step = steps[key] { return step }
        let layout = PassInputs.Layout(
            tokens: size, axes: model.positionAxes, sequences: size,
            maxBlocks: (plan.sessionLen + plan.blockSize - 1) / plan.blockSize, outputs: size, extraWords: SamplingRow.words)
        let memory = try backend.allocate(byteCount: 4 * layout.wordCount, purpose: "step inputs")
        inputMemory.append(memory)
        let inputs = PassInputs(layout, in: Tensor(pointer: memory.pointer, dtype: .int32, shape: Shape(layout.wordCount)))
        var padding = ForwardBatch()
        padding.positions = Array(repeating: [], count: model.positionAxes)
        padding.pad(to: layout)
        // Launches are chosen for the longest contexts there can be; what there is stands in the inputs.
        var batch = padding
        batch.contextLengths = [Int32](repeating: Int32(plan.sessionLen), count: size)
        batch.inputs = inputs
        func pass() throws {
            try context.workspace.scope { try compute(batch, kind: kind, rowsAtOnce: size) }
        }
        // Once for real, over padding alone: what a backend does at the first use of a kernel cannot be recorded.
        let wanted = sampling
        sampling.removeAll(keepingCapacity: true)
        pack(padding)
        sampling = wanted
        try words.withUnsafeBytes { try backend.upload($0, to: inputs.memory) }
        try pass()
        let work = try backend.record(pass)
        let step = RecordedStep(work: work, inputs: inputs)
        steps[key] = step
        return step
    }

    /// Packs a padded batch into `words`; rows beyond the sampling rows there are choose nothing.
    private func pack(_ batch: ForwardBatch) {
        while sampling.count < batch.outputRows.count * SamplingRow.words { SamplingRow.padding.append(to: &sampling) }
        batch.pack(into: &words, extra: sampling)
    }

    // MARK: Warming up

    /// Runs passes of a few sizes that write no cache slot and choose nothing, and records the step of one sequence.
    func warmUp() throws {
        for count in [1, 24, 64, 128, 256, 331, 512, 1024] where count <= min(plan.maxPrefillTokens, plan.sessionLen) {
            var batch = ForwardBatch()
            batch.tokenIDs = [Int32](repeating: 0, count: count)
            batch.positions = Array(repeating: Array(0..<Int32(count)), count: model.positionAxes)
            batch.slots = [Int32](repeating: -1, count: count)
            batch.queryStarts = [0, Int32(count)]
            batch.contextLengths = [Int32(count)]
            batch.maxBlocks = (count + plan.blockSize - 1) / plan.blockSize
            batch.blockTables = [Int32](repeating: 0, count: batch.maxBlocks)
            batch.outputRows = [Int32(count - 1)]
            for kind in count == 1 ? [SamplingKind.greedy, .full] : [.greedy] {
                sampling.removeAll(keepingCapacity: true)
                SamplingRow.padding.append(to: &sampling)
                try run(&batch, kind: kind)
                batch.inputs = nil
            }
        }
        if backend.recordsWork, model.canBeRecorded { _ = try recordedStep(size: 1, kind: .greedy) }
        try backend.synchronize()
    }
}
