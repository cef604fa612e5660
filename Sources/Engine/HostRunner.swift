import Layers
import Tensors

/// Runs passes whose logits come to the host, where they are recorded and tokens are chosen.
final class HostRunner {
    private let model: any LanguageModel
    private let cache: KVCache
    private let context: ForwardContext
    /// Most rows of logits at once, which the memory plan counts on.
    private let maxRows: Int
    /// One slice of logits or hidden states.
    private var hostRows: [Float] = []

    init(model: any LanguageModel, cache: KVCache, context: ForwardContext, maxRows: Int) {
        self.model = model
        self.cache = cache
        self.context = context
        self.maxRows = maxRows
    }

    /// Runs `batch` and lets its sequences choose their next tokens.
    ///
    /// - Parameters:
    ///   - submitted: called when the pass is under way and its positions count as cached.
    ///   - finished: called with each sequence that has ended.
    func run(
        _ batch: ForwardBatch, _ entries: [PassEntry], submitted: () -> Void, finished: (SequenceState) -> Void,
        failed: (SequenceState, any Error) -> Void
    ) throws {
        try context.workspace.scope {
            let hidden = try model.forward(batch, cache: cache, context: context)
            submitted()
            var first = 0
            var entry = 0
            while first < batch.outputRows.count {
                let slice = first..<min(first + maxRows, batch.outputRows.count)
                try context.workspace.scope {
                    try finish(slice, of: hidden, entries[entry...], finished: finished, failed: failed)
                }
                while entry < entries.count, entries[entry].outputs.upperBound <= slice.upperBound { entry += 1 }
                first = slice.upperBound
            }
        }
    }

    /// Brings the rows `slice` of the pass's outputs to the host, records what is wanted and samples where a sequence's last row is.
    private func finish(
        _ slice: Range<Int>, of hidden: Tensor, _ entries: ArraySlice<PassEntry>, finished: (SequenceState) -> Void,
        failed: (SequenceState, any Error) -> Void
    ) throws {
        let rows = hidden.rows(slice)
        if entries.contains(where: { $0.sequence.request.generation.outputLastHiddenState != nil && $0.outputs.overlaps(slice) })
        {
            try download(rows)
            eachRow(slice, width: rows.width, entries) { sequence, row, isLast in
                sequence.record(hiddenState: row, isLastOfPass: isLast)
            }
        }
        let logits = try model.logits(rows, context: context)
        try download(logits)
        eachRow(slice, width: logits.width, entries) { sequence, row, isLast in
            sequence.record(logits: row, isLastOfPass: isLast)
            guard isLast, sequence.computed == sequence.tokens.count else { return }
            do {
                if sequence.maxNewTokens == 0 {
                    sequence.finish(.length)
                    finished(sequence)
                } else if try !sequence.advance(row) {
                    finished(sequence)
                }
            } catch {
                failed(sequence, error)
            }
        }
    }

    /// Calls `body` with each downloaded row of `slice` and the sequence it belongs to.
    private func eachRow(
        _ slice: Range<Int>, width: Int, _ entries: ArraySlice<PassEntry>,
        _ body: (SequenceState, UnsafeMutableBufferPointer<Float>, _ isLast: Bool) -> Void
    ) {
        hostRows.withUnsafeMutableBufferPointer { values in
            for entry in entries {
                guard entry.outputs.lowerBound < slice.upperBound else { return }
                for row in entry.outputs.clamped(to: slice) {
                    let start = (row - slice.lowerBound) * width
                    body(
                        entry.sequence, UnsafeMutableBufferPointer(rebasing: values[start..<start + width]),
                        row == entry.outputs.upperBound - 1)
                }
            }
        }
    }

    private func download(_ tensor: Tensor) throws {
        let count = tensor.count
        if hostRows.count < count { hostRows = [Float](repeating: 0, count: count) }
        guard tensor.dtype != .float32 else {
            return try hostRows.withUnsafeMutableBytes { bytes in
                try context.backend.download(tensor, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * 4)]))
            }
        }
        try context.workspace.scope {
            let wide = try context.workspace.allocate(tensor.shape, dtype: .float32)
            try context.backend.copy(tensor, into: wide)
            try download(wide)
        }
    }

    /// The rows of a tensor on the host.
    func matrix(_ tensor: Tensor) throws -> OutputMatrix {
        try download(tensor)
        var matrix = OutputMatrix(columns: tensor.width)
        matrix.rows = tensor.rows
        matrix.values = Array(hostRows[..<tensor.count])
        return matrix
    }
}
