import Layers
import Models
import Tensors

/// Lays sequences' next tokens end to end into the arrays of one pass. Keeps its memory, so that steady decoding allocates nothing.
final class BatchBuilder {
    var batch = ForwardBatch()
    private(set) var entries: [PassEntry] = []
    private let blockSize: Int
    private var longestContext = 0

    init(blockSize: Int, positionAxes: Int) {
        self.blockSize = blockSize
        batch.positions = Array(repeating: [], count: positionAxes)
    }

    func removeAll() {
        batch.removeAll()
        entries.removeAll(keepingCapacity: true)
        longestContext = 0
    }

    /// Adds the next token of each sequence that decodes.
    func addTokens(_ sequences: [SequenceState]) {
        // Worked on as values of this function's own: what runs for every sequence of every step is spared the checks of shared memory.
        var batch = ForwardBatch()
        swap(&batch, &self.batch)
        var entries = entries
        self.entries = []
        var longestContext = longestContext
        for sequence in sequences where sequence.wantsToken {
            let index = sequence.computed
            let row = Int32(batch.tokenIDs.count)
            batch.tokenIDs.append(sequence.token(index))
            for axis in batch.positions.indices { batch.positions[axis].append(sequence.position(index, axis: axis)) }
            batch.slots.append(slot(index, in: sequence.held.blocks))
            batch.queryStarts.append(row + 1)
            batch.contextLengths.append(Int32(index + 1))
            longestContext = max(longestContext, index + 1)
            let output = batch.outputRows.count
            batch.outputRows.append(row)
            entries.append(PassEntry(sequence: sequence, outputs: output..<output + 1, end: index + 1))
        }
        swap(&batch, &self.batch)
        self.entries = entries
        self.longestContext = longestContext
    }

    private func slot(_ index: Int, in blocks: [Int32]) -> Int32 {
        blocks[index / blockSize] * Int32(blockSize) + Int32(index % blockSize)
    }

    /// Adds the next `count` tokens of a prompt, whose blocks hold them.
    func add(_ sequence: SequenceState, count: Int) {
        let start = sequence.computed
        let end = start + count
        let firstRow = batch.tokenCount
        let blocks = sequence.held.blocks
        for index in start..<end {
            batch.tokenIDs.append(sequence.token(index))
            batch.slots.append(slot(index, in: blocks))
        }
        for axis in batch.positions.indices {
            for index in start..<end { batch.positions[axis].append(sequence.position(index, axis: axis)) }
        }
        if start < sequence.promptCount { addImages(of: sequence, start..<end, firstRow: firstRow) }
        batch.queryStarts.append(Int32(batch.tokenCount))
        batch.contextLengths.append(Int32(end))
        longestContext = max(longestContext, end)

        let firstOutput = batch.outputRows.count
        if sequence.wantsAllPositions {
            // What was recorded before a preemption is not wanted twice.
            let firstWanted = max(start, sequence.choosing.recorded)
            if firstWanted < end {
                batch.outputRows.append(contentsOf: Int32(firstRow + firstWanted - start)..<Int32(batch.tokenCount))
            }
        } else if end == sequence.scheduledCount {
            batch.outputRows.append(Int32(batch.tokenCount - 1))
        }
        entries.append(PassEntry(sequence: sequence, outputs: firstOutput..<batch.outputRows.count, end: end))
    }

    private func addImages(of sequence: SequenceState, _ range: Range<Int>, firstRow: Int) {
        for run in sequence.imageRuns where run.positions.overlaps(range) {
            guard let features = sequence.features[run.image] else { continue }
            let covered = run.positions.clamped(to: range)
            let firstFeature = run.featureRow + covered.lowerBound - run.start
            batch.imageSpans.append(
                ImageSpan(
                    row: firstRow + covered.lowerBound - range.lowerBound,
                    features: features.tensor.rows(firstFeature..<firstFeature + covered.count)))
        }
    }

    /// Says how far rows see, when some see positions after their own. A span's last token never does.
    private func addEnds() {
        func new(_ index: Int) -> Range<Int> {
            let count = Int(batch.queryStarts[index + 1] - batch.queryStarts[index])
            return entries[index].end - count..<entries[index].end
        }
        let seesAhead = entries.indices.contains { index in
            entries[index].sequence.spans.contains { $0.clamped(to: new(index)).count > 1 }
        }
        guard seesAhead else { return }
        for index in entries.indices { batch.appendEnds(of: new(index), spans: entries[index].sequence.spans) }
    }

    /// Completes the batch once every sequence is in it.
    func finish() {
        addEnds()
        // Only blocks that hold context are named: a table may be long and its sequence short.
        batch.maxBlocks = (longestContext + blockSize - 1) / blockSize
        for entry in entries {
            let blocks = entry.sequence.held.blocks
            let used = min(batch.maxBlocks, blocks.count)
            batch.blockTables.append(contentsOf: blocks[..<used])
            if used < batch.maxBlocks { batch.blockTables.append(contentsOf: repeatElement(0, count: batch.maxBlocks - used)) }
        }
    }
}
