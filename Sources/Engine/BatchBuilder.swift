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

    /// Adds the next `count` tokens of a sequence, whose blocks hold them.
    func add(_ sequence: SequenceState, count: Int) {
        let start = sequence.computed
        let end = start + count
        let firstRow = batch.tokenCount
        for index in start..<end {
            batch.tokenIDs.append(sequence.token(index))
            for axis in batch.positions.indices { batch.positions[axis].append(sequence.position(index, axis: axis)) }
            let block = sequence.blocks[index / blockSize]
            batch.slots.append(block * Int32(blockSize) + Int32(index % blockSize))
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

    /// Completes the batch once every sequence is in it.
    func finish() {
        // Only blocks that hold context are named: a table may be long and its sequence short.
        batch.maxBlocks = (longestContext + blockSize - 1) / blockSize
        for entry in entries {
            let used = min(batch.maxBlocks, entry.sequence.blocks.count)
            batch.blockTables.append(contentsOf: entry.sequence.blocks[..<used])
            for _ in used..<batch.maxBlocks { batch.blockTables.append(0) }
        }
    }
}
