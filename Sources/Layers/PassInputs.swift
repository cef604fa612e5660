package import Tensors

/// A batch's arrays on the device, one after another in one piece of memory so that one copy brings them there.
package struct PassInputs {
    /// How long each array is; passes of one layout can share memory and recorded work.
    package struct Layout: Hashable, Sendable {
        package var tokens: Int
        package var axes: Int
        package var sequences: Int
        package var maxBlocks: Int
        package var outputs: Int
        /// Words per output row that the caller adds at the end, for sampling.
        package var extraWords = 0
        /// Whether ``ForwardBatch/ends`` are there.
        package var hasEnds = false

        package init(
            tokens: Int, axes: Int, sequences: Int, maxBlocks: Int, outputs: Int, extraWords: Int = 0, hasEnds: Bool = false
        ) {
            self.tokens = tokens
            self.axes = axes
            self.sequences = sequences
            self.maxBlocks = maxBlocks
            self.outputs = outputs
            self.extraWords = extraWords
            self.hasEnds = hasEnds
        }

        /// Arrays start at multiples of 64 bytes.
        private static func padded(_ words: Int) -> Int { (words + 15) / 16 * 16 }

        fileprivate var lengths: [Int] {
            [
                tokens, axes * tokens, tokens, sequences + 1, sequences, sequences * maxBlocks, outputs, outputs * extraWords,
                hasEnds ? tokens : 0,
            ]
        }
        /// int32 words in all.
        package var wordCount: Int { lengths.reduce(0) { $0 + Layout.padded($1) } }
        fileprivate var offsets: [Int] {
            var next = 0
            return lengths.map { length in
                defer { next += Layout.padded(length) }
                return next
            }
        }
    }

    package let layout: Layout
    /// All words, as one contiguous tensor.
    package let memory: Tensor
    /// `[T]`, `[axes, T]`, `[T]`, `[S+1]`, `[S]`, `[S, maxBlocks]`, `[n]` and `[n, extraWords]` int32; see ``ForwardBatch``.
    package let tokenIDs: Tensor
    package let positions: Tensor
    package let slots: Tensor
    package let queryStarts: Tensor
    package let contextLengths: Tensor
    package let blockTables: Tensor
    package let outputRows: Tensor
    package let extra: Tensor
    /// `[T]`, when the batch has them.
    package let ends: Tensor?

    /// Views of `memory`, an int32 vector of ``Layout/wordCount`` words.
    package init(_ layout: Layout, in memory: Tensor) {
        precondition(memory.count == layout.wordCount && memory.dtype == .int32, "memory does not fit the layout")
        self.layout = layout
        self.memory = memory
        let offsets = layout.offsets
        func view(_ index: Int, _ shape: Shape) -> Tensor {
            Tensor(pointer: memory.pointer + 4 * offsets[index], dtype: .int32, shape: shape)
        }
        tokenIDs = view(0, Shape(layout.tokens))
        positions = view(1, Shape(layout.axes, layout.tokens))
        slots = view(2, Shape(layout.tokens))
        queryStarts = view(3, Shape(layout.sequences + 1))
        contextLengths = view(4, Shape(layout.sequences))
        blockTables = view(5, Shape(layout.sequences, layout.maxBlocks))
        outputRows = view(6, Shape(layout.outputs))
        extra = view(7, Shape(layout.outputs, layout.extraWords))
        ends = layout.hasEnds ? view(8, Shape(layout.tokens)) : nil
    }
}

extension ForwardBatch {
    package func layout(extraWords: Int = 0) -> PassInputs.Layout {
        PassInputs.Layout(
            tokens: tokenCount, axes: positions.count, sequences: sequenceCount, maxBlocks: maxBlocks,
            outputs: outputRows.count, extraWords: extraWords, hasEnds: !ends.isEmpty)
    }

    /// Writes the arrays to `words` as ``PassInputs`` reads them.
    ///
    /// - Parameter extra: `[n · extraWords]` words for the output rows.
    package func pack(into words: inout [Int32], extra: [Int32] = []) {
        words.removeAll(keepingCapacity: true)
        func append(_ values: some Collection<Int32>) {
            words.append(contentsOf: values)
        }
        func pad() { while words.count % 16 != 0 { words.append(0) } }
        append(tokenIDs)
        // An image token may lie outside the vocabulary; its row is replaced by a feature after the embedding.
        for span in imageSpans {
            for row in span.rows { words[row] = 0 }
        }
        pad()
        for axis in positions { append(axis) }
        pad()
        for values in [slots, queryStarts, contextLengths, blockTables, outputRows, extra, ends] {
            append(values)
            pad()
        }
    }

    /// Adds sequences of one token up to those of `layout`, with no context and no slot, so that they write nothing; block tables grow to its
    /// width. For batches whose sequences have one token each.
    package mutating func pad(to layout: PassInputs.Layout) {
        precondition(
            tokenCount == sequenceCount && ends.isEmpty && sequenceCount <= layout.sequences && maxBlocks <= layout.maxBlocks,
            "the layout is smaller than the batch")
        var tables: [Int32] = []
        tables.reserveCapacity(layout.sequences * layout.maxBlocks)
        for sequence in 0..<sequenceCount {
            tables.append(contentsOf: blockTables[sequence * maxBlocks..<(sequence + 1) * maxBlocks])
            tables.append(contentsOf: repeatElement(0, count: layout.maxBlocks - maxBlocks))
        }
        let missing = layout.sequences - sequenceCount
        tables.append(contentsOf: repeatElement(0, count: missing * layout.maxBlocks))
        blockTables = tables
        maxBlocks = layout.maxBlocks
        for row in sequenceCount..<layout.sequences {
            outputRows.append(Int32(row))
            queryStarts.append(Int32(row + 1))
        }
        tokenIDs.append(contentsOf: repeatElement(0, count: missing))
        for axis in positions.indices { positions[axis].append(contentsOf: repeatElement(0, count: missing)) }
        slots.append(contentsOf: repeatElement(-1, count: missing))
        contextLengths.append(contentsOf: repeatElement(0, count: missing))
    }

    /// The arrays on the device: where they are already, or copied to the workspace.
    package func place(_ context: ForwardContext) throws -> PassInputs {
        if let inputs { return inputs }
        var words: [Int32] = []
        pack(into: &words)
        return PassInputs(layout(), in: try context.upload(words))
    }
}
