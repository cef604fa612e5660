/// A sequence's share of a pass.
struct PassEntry {
    let sequence: SequenceState
    /// Its rows among the pass's output rows.
    let outputs: Range<Int>
    /// Positions of the sequence that are computed after the pass; its last output row is the one before.
    let end: Int

    /// The position of an output row.
    func position(_ row: Int) -> Int { end - outputs.upperBound + row }
}
