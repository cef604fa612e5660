/// A sequence's share of a pass.
struct PassEntry {
    let sequence: SequenceState
    /// Its rows among the pass's output rows.
    let outputs: Range<Int>
}
