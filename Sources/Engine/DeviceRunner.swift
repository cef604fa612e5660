import Layers
import Tensors

/// Runs passes on a device that works behind its host, and has it choose their tokens without waiting for them.
///
/// Where the host must have a part in the choice of a token, the pass is submitted first and the choice follows while the device computes:
/// by then the host has seen the tokens of the pass before, so it can say which tokens may come (``DeviceSampler/masks``). Only rows that
/// the host must see are downloaded, and only for those does the device wait; the other rows of the pass stay on the device.
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
        /// nil: the step ends in logits, and the choice is submitted by itself.
        let kind: SamplingKind?
    }

    private struct RecordedStep {
        let work: any RecordedWork
        let inputs: PassInputs
        /// `[size, V]` in the workspace, where the step leaves them.
        let logits: Tensor
    }

    private var steps: [StepKey: RecordedStep] = [:]
    /// Memory of each recorded step's inputs.
    private var inputMemory: [any DeviceBuffer] = []
    private var nextResult = 0

    private let hostRows: HostRows
    /// `[lanes, SamplingRow.words]`: rows of choices that follow their pass.
    private let lateRows: Tensor
    private let lateMemory: any DeviceBuffer

    // Kept to reuse their memory.
    private var words: [Int32] = []
    private var sampling: [Int32] = []
    private var masks: [UInt32] = []

    init(
        model: any LanguageModel, cache: KVCache, context: ForwardContext, backend: any AsynchronousBackend, plan: MemoryPlan
    ) throws {
        self.model = model
        self.cache = cache
        self.context = context
        self.backend = backend
        self.plan = plan
        sampler = try backend.makeSampler(lanes: plan.maxBatchSize, vocabularySize: model.vocabularySize)
        hostRows = HostRows(context: context)
        lateMemory = try backend.allocate(byteCount: 4 * plan.maxBatchSize * SamplingRow.words, purpose: "step inputs")
        lateRows = Tensor(pointer: lateMemory.pointer, dtype: .int32, shape: Shape(plan.maxBatchSize, SamplingRow.words))
    }

    /// Submits a pass and the choice of its tokens.
    ///
    /// - Parameters:
    ///   - meanwhile: called once the pass is under way, whose positions count as cached then: the time to collect the pass before, on which
    ///     the choice may depend.
    ///   - finished: called with each sequence that has ended in the pass because the host chose its token.
    func run(
        _ batch: inout ForwardBatch, _ entries: [PassEntry], meanwhile: () -> Void, finished: (SequenceState) -> Void,
        failed: (SequenceState, any Error) -> Void
    ) throws -> Submitted {
        if entries.contains(where: { !$0.outputs.isEmpty && ($0.sequence.needsHost || $0.sequence.needsMask) }) {
            return try runChoosingLate(&batch, entries, meanwhile: meanwhile, finished: finished, failed: failed)
        }
        sampling.removeAll(keepingCapacity: true)
        var kind = SamplingKind.greedy
        var results = [Int](repeating: -1, count: entries.count)
        for (index, entry) in entries.enumerated() where !entry.outputs.isEmpty {
            let row = try samplingRow(entry.sequence)
            kind = max(kind, row.kind)
            row.append(to: &sampling)
            results[index] = Int(row.result)
        }
        if isDecodingStep(batch, entries) {
            try replay(&batch, kind: kind)
        } else {
            try run(&batch, kind: kind)
        }
        for entry in entries where !entry.outputs.isEmpty { entry.sequence.inFlight += 1 }
        let pass = Submitted(entries: entries, results: results, mark: try backend.mark())
        meanwhile()
        return pass
    }

    private func samplingRow(_ sequence: SequenceState) throws -> SamplingRow {
        let row = sequence.samplingRow(result: Int32(nextResult))
        try sequence.tellHistory(to: sampler)
        nextResult = (nextResult + 1) % sampler.resultCount
        return row
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
            try place(&batch, extraWords: chooses ? SamplingRow.words : 0)
            try compute(batch, kind: kind, rowsAtOnce: plan.maxBatchSize)
        }
    }

    /// Copies a batch to the workspace, with `sampling` at its end.
    private func place(_ batch: inout ForwardBatch, extraWords: Int) throws {
        batch.pack(into: &words, extra: sampling)
        batch.inputs = PassInputs(batch.layout(extraWords: extraWords), in: try context.upload(words))
    }

    private func forward(_ batch: ForwardBatch) throws -> Tensor {
        var batch = batch
        batch.lanes = sampler.newest
        return try model.forward(batch, cache: cache, context: context)
    }

    /// The pass over a placed batch, and the choice of its tokens.
    private func compute(_ batch: ForwardBatch, kind: SamplingKind, rowsAtOnce: Int) throws {
        guard let inputs = batch.inputs else { return }
        let hidden = try forward(batch)
        for first in stride(from: 0, to: hidden.rows, by: rowsAtOnce) {
            let rows = first..<min(first + rowsAtOnce, hidden.rows)
            try context.workspace.scope {
                let logits = try model.logits(hidden.rows(rows), context: context)
                try sampler.sample(logits, rows: inputs.extra.rows(rows), kind: kind)
            }
        }
    }

    // MARK: Choices that follow their pass

    private func runChoosingLate(
        _ batch: inout ForwardBatch, _ entries: [PassEntry], meanwhile: () -> Void, finished: (SequenceState) -> Void,
        failed: (SequenceState, any Error) -> Void
    ) throws -> Submitted {
        var results = [Int](repeating: -1, count: entries.count)
        sampling.removeAll(keepingCapacity: true)
        func choose(_ slice: Range<Int>, hidden: Tensor?, logits: Tensor?) throws {
            if let logits { try chooseOnDevice(slice, logits, entries, &results, finished: finished, failed: failed) }
            for entry in entries where entry.sequence.needsHost && entry.outputs.overlaps(slice) {
                try hostRows.take(entry, slice, hidden: hidden, logits: logits, finished: finished, failed: failed)
            }
        }
        // Widening hidden states for the host takes workspace, over which a recorded step would lie.
        if isDecodingStep(batch, entries), !entries.contains(where: \.sequence.wantsHiddenStates) {
            let step = try replay(&batch, kind: nil)
            meanwhile()
            try choose(0..<entries.count, hidden: nil, logits: step.logits.rows(0..<entries.count))
        } else {
            try context.workspace.scope {
                try place(&batch, extraWords: 0)
                let hidden = try forward(batch)
                for first in stride(from: 0, to: hidden.rows, by: plan.maxBatchSize) {
                    let slice = first..<min(first + plan.maxBatchSize, hidden.rows)
                    try context.workspace.scope {
                        let states = hidden.rows(slice)
                        let logits = HostRows.needLogits(entries, in: slice) ? try model.logits(states, context: context) : nil
                        if first == 0 { meanwhile() }
                        try choose(slice, hidden: states, logits: logits)
                    }
                }
            }
        }
        return Submitted(entries: entries, results: results, mark: try backend.mark())
    }

    /// Submits the choice of the tokens of those rows in `slice` that stay on the device.
    ///
    /// - Parameters:
    ///   - logits: `[slice.count, V]`.
    ///   - results: gets the place of each entry's token.
    private func chooseOnDevice(
        _ slice: Range<Int>, _ logits: Tensor, _ entries: [PassEntry], _ results: inout [Int],
        finished: (SequenceState) -> Void, failed: (SequenceState, any Error) -> Void
    ) throws {
        let maskWords = sampler.masks.width
        var rows = [SamplingRow](repeating: .padding, count: slice.count)
        var maskCount = 0
        for (index, entry) in entries.enumerated() where entry.outputs.overlaps(slice) {
            let sequence = entry.sequence
            // What the host follows, and what ended meanwhile, leaves a row that chooses nothing.
            guard !sequence.needsHost, !sequence.isDone else { continue }
            var row = try samplingRow(sequence)
            if sequence.needsMask {
                let end = (maskCount + 1) * maskWords
                if masks.count < end { masks.append(contentsOf: repeatElement(0, count: end - masks.count)) }
                let hasChoice = masks.withUnsafeMutableBufferPointer {
                    sequence.fillMask(
                        UnsafeMutableBufferPointer(rebasing: $0[end - maskWords..<end]), vocabularySize: model.vocabularySize)
                }
                guard hasChoice else {
                    sequence.finishWithoutChoice()
                    finished(sequence)
                    continue
                }
                row.mask = Int32(maskCount)
                maskCount += 1
            }
            rows[entry.outputs.lowerBound - slice.lowerBound] = row
            results[index] = Int(row.result)
            sequence.inFlight += 1
        }
        guard rows.contains(where: { $0.lane >= 0 }) else { return }
        if maskCount > 0 {
            try masks.withUnsafeBytes { bytes in
                try backend.upload(
                    UnsafeRawBufferPointer(rebasing: bytes[..<(4 * maskCount * maskWords)]), to: sampler.masks.rows(0..<maskCount)
                )
            }
        }
        words.removeAll(keepingCapacity: true)
        for row in rows { row.append(to: &words) }
        let place = lateRows.rows(0..<rows.count)
        try words.withUnsafeBytes { try backend.upload($0, to: place) }
        try sampler.sample(logits, rows: place, kind: rows.reduce(.greedy) { max($0, $1.kind) })
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

    /// Submits the recorded step of a batch, with `sampling` for its choice where it makes one.
    @discardableResult
    private func replay(_ batch: inout ForwardBatch, kind: SamplingKind?) throws -> RecordedStep {
        let size = DeviceRunner.recordedSize(batch.tokenCount, limit: plan.maxBatchSize)
        let step = try recordedStep(size: size, kind: kind)
        batch.pad(to: step.inputs.layout)
        pack(batch, choosing: kind != nil)
        try words.withUnsafeBytes { try backend.upload($0, to: step.inputs.memory) }
        try backend.replay(step.work)
        return step
    }

    private func recordedStep(size: Int, kind: SamplingKind?) throws -> RecordedStep {
        let key = StepKey(size: size, kind: kind)
        if let step = steps[key] { return step }
        let layout = PassInputs.Layout(
            tokens: size, axes: model.positionAxes, sequences: size,
            maxBlocks: (plan.sessionLen + plan.blockSize - 1) / plan.blockSize, outputs: size,
            extraWords: kind == nil ? 0 : SamplingRow.words)
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
        func pass() throws -> Tensor {
            try context.workspace.scope {
                let logits = try model.logits(forward(batch), context: context)
                if let kind { try sampler.sample(logits, rows: inputs.extra, kind: kind) }
                return logits
            }
        }
        // Once for real, over padding alone: what a backend does at the first use of a kernel cannot be recorded.
        let wanted = sampling
        sampling.removeAll(keepingCapacity: true)
        pack(padding, choosing: kind != nil)
        sampling = wanted
        try words.withUnsafeBytes { try backend.upload($0, to: inputs.memory) }
        let logits = try pass()
        let work = try backend.record { _ = try pass() }
        let step = RecordedStep(work: work, inputs: inputs, logits: logits)
        steps[key] = step
        return step
    }

    /// Packs a padded batch into `words`; rows beyond the sampling rows there are choose nothing.
    private func pack(_ batch: ForwardBatch, choosing: Bool) {
        while choosing, sampling.count < batch.outputRows.count * SamplingRow.words { SamplingRow.padding.append(to: &sampling) }
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
