import Layers
import Tensors

/// Brings rows of a pass to the host and hands them to their sequences.
final class HostRows {
    private let context: ForwardContext
    private var hiddenRows: [Float] = []
    private var logitRows: [Float] = []

    init(context: ForwardContext) { self.context = context }

    /// Whether any output row in `slice` is worth computing logits for.
    static func needLogits(_ entries: [PassEntry], in slice: Range<Int>) -> Bool {
        entries.contains { entry in
            entry.outputs.clamped(to: slice).contains { entry.sequence.needsLogits(at: entry.position($0)) }
        }
    }

    /// Hands an entry's rows in `slice` to its sequence, in order, which records them and chooses its next token.
    ///
    /// - Parameters:
    ///   - hidden: `[slice.count, D]`; nil where nobody wants them.
    ///   - logits: `[slice.count, V]` float32; nil where nobody needs them.
    ///   - finished: called with the sequence when it has ended.
    func take(
        _ entry: PassEntry, _ slice: Range<Int>, hidden: Tensor?, logits: Tensor?, finished: (SequenceState) -> Void,
        failed: (SequenceState, any Error) -> Void
    ) throws {
        let sequence = entry.sequence
        let outputs = entry.outputs.clamped(to: slice)
        guard !outputs.isEmpty, !sequence.isDone else { return }
        let rows = outputs.lowerBound - slice.lowerBound..<outputs.upperBound - slice.lowerBound
        let wantsHidden = sequence.wantsHiddenStates
        let wantsLogits = logits != nil && outputs.contains { sequence.needsLogits(at: entry.position($0)) }
        if let hidden, wantsHidden { try download(hidden.rows(rows), into: &hiddenRows) }
        if let logits, wantsLogits { try download(logits.rows(rows), into: &logitRows) }
        hiddenRows.withUnsafeMutableBufferPointer { states in
            logitRows.withUnsafeMutableBufferPointer { values in
                for (index, output) in outputs.enumerated() {
                    func row(_ all: UnsafeMutableBufferPointer<Float>, _ width: Int) -> UnsafeMutableBufferPointer<Float> {
                        UnsafeMutableBufferPointer(rebasing: all[index * width..<(index + 1) * width])
                    }
                    let position = entry.position(output)
                    do {
                        let goesOn = try sequence.take(
                            position: position, hiddenState: wantsHidden ? hidden.map { row(states, $0.width) } : nil,
                            logits: wantsLogits && sequence.needsLogits(at: position) ? logits.map { row(values, $0.width) } : nil
                        )
                        if !goesOn { return finished(sequence) }
                    } catch {
                        return failed(sequence, error)
                    }
                }
            }
        }
    }

    private func download(_ tensor: Tensor, into host: inout [Float]) throws {
        let count = tensor.count
        if host.count < count { host = [Float](repeating: 0, count: count) }
        guard tensor.dtype != .float32 else {
            return try host.withUnsafeMutableBytes { bytes in
                try context.backend.download(tensor, into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * 4)]))
            }
        }
        try context.workspace.scope {
            let wide = try context.workspace.allocate(tensor.shape, dtype: .float32)
            try context.backend.copy(tensor, into: wide)
            try download(wide, into: &host)
        }
    }

    /// The rows of a tensor on the host.
    func matrix(_ tensor: Tensor) throws -> OutputMatrix {
        try download(tensor, into: &hiddenRows)
        var matrix = OutputMatrix(columns: tensor.width)
        matrix.rows = tensor.rows
        matrix.values = Array(hiddenRows[..<tensor.count])
        return matrix
    }
}
