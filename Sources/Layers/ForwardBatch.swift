package import Tensors

/// The tokens one forward pass computes: the new tokens of every scheduled sequence, end to end.
///
/// The only kind of batch there is. A single prompt is a batch of one sequence; a decoding step is a batch of sequences with
/// one token each; a chunk of a long prompt is a sequence whose context is longer than its new tokens.
package struct ForwardBatch {
    /// `[T]` token ids. At rows that ``ImageSpan``s cover the id is ignored.
    package var tokenIDs: [Int32] = []
    /// Rotary positions `[axes][T]`: one axis for ordinary RoPE, three (temporal, height, width) for M-RoPE.
    package var positions: [[Int32]] = []
    /// `[S+1]` rows where sequences start, and T at the end.
    package var queryStarts: [Int32] = [0]
    /// `[S]` cached positions of each sequence after this pass.
    package var contextLengths: [Int32] = []
    /// `[S * maxBlocks]` block numbers of each sequence, padded with 0.
    package var blockTables: [Int32] = []
    package var maxBlocks = 0
    /// `[T]` cache slots (block · blockSize + offset) where each token's keys and values go.
    package var slots: [Int32] = []
    /// `[T]` where rows see positions after their own: how many positions of its sequence each row sees, see ``PagedBatch/ends``. Empty when
    /// all rows are causal.
    package var ends: [Int32] = []
    /// Runs of rows whose embeddings come from images.
    package var imageSpans: [ImageSpan] = []
    /// Rows whose hidden state is wanted, usually the last of each sequence. Ascending.
    package var outputRows: [Int32] = []

    /// The arrays on the device, when the engine has placed them there; a pass places them itself otherwise.
    package var inputs: PassInputs?
    /// `[lanes]` int32: the newest token of each sequence on the device. A negative token id `-1 - l` means the token of lane l.
    package var lanes: Tensor?

    package init() {}

    package var tokenCount: Int { tokenIDs.count }
    package var sequenceCount: Int { contextLengths.count }

    /// Adds the ``ends`` of a sequence's new positions. The tokens of each of `spans` (ascending positions of the sequence, disjoint) see one
    /// another whole; a span that goes on behind `positions` is seen as far as they reach.
    package mutating func appendEnds(of positions: Range<Int>, spans: [Range<Int>]) {
        var position = positions.lowerBound
        for span in spans where span.upperBound > position && span.lowerBound < positions.upperBound {
            while position < span.lowerBound {
                position += 1
                ends.append(Int32(position))
            }
            let end = min(span.upperBound, positions.upperBound)
            ends.append(contentsOf: repeatElement(Int32(end), count: end - position))
            position = end
        }
        while position < positions.upperBound {
            position += 1
            ends.append(Int32(position))
        }
    }

    /// Empties the batch and keeps its memory, so that steady decoding allocates nothing.
    package mutating func removeAll() {
        tokenIDs.removeAll(keepingCapacity: true)
        for axis in positions.indices { positions[axis].removeAll(keepingCapacity: true) }
        queryStarts.removeAll(keepingCapacity: true)
        queryStarts.append(0)
        contextLengths.removeAll(keepingCapacity: true)
        blockTables.removeAll(keepingCapacity: true)
        maxBlocks = 0
        slots.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        imageSpans.removeAll(keepingCapacity: true)
        outputRows.removeAll(keepingCapacity: true)
        inputs = nil
    }
}

/// Rows of a batch that hold image features instead of token embeddings.
package struct ImageSpan {
    /// First row of the batch.
    package let row: Int
    /// `[n, D]` feature rows for batch rows `row ..< row + n`, or wider ones, see ``StackedFeatures``; device memory that outlives the pass.
    package let features: Tensor

    /// Rows of the batch.
    package var rows: Range<Int> { row..<row + features.rows }

    package init(row: Int, features: Tensor) {
        self.row = row
        self.features = features
    }
}
