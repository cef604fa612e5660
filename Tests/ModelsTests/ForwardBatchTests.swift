import Layers
import Tensors
import Testing

@Suite struct ForwardBatchTests {
    /// Rows see up to themselves, inside a span up to its end, and never what is not there yet.
    @Test func endsFollowSpans() {
        func ends(_ positions: Range<Int>, _ spans: [Range<Int>]) -> [Int32] {
            var batch = ForwardBatch()
            batch.appendEnds(of: positions, spans: spans)
            return batch.ends
        }
        #expect(ends(0..<4, []) == [1, 2, 3, 4])
        #expect(ends(0..<6, [1..<3, 3..<5]) == [1, 3, 3, 5, 5, 6])
        #expect(ends(0..<3, [0..<3]) == [3, 3, 3])
        // What was before these positions is cached; what comes later is not.
        #expect(ends(2..<7, [0..<4, 5..<9]) == [4, 4, 5, 7, 7])
        #expect(ends(5..<6, [0..<4]) == [6])
    }

    @Test(arguments: [false, true]) func packedArraysComeBack(hasEnds: Bool) throws {
        var batch = ForwardBatch()
        batch.tokenIDs = [7, 8, 9]
        batch.positions = [[0, 1, 2], [3, 4, 5]]
        batch.queryStarts = [0, 2, 3]
        batch.contextLengths = [2, 5]
        batch.maxBlocks = 2
        batch.blockTables = [4, 0, 6, 5]
        batch.slots = [64, 65, -1]
        batch.outputRows = [1, 2]
        if hasEnds {
            batch.appendEnds(of: 0..<2, spans: [0..<2])
            batch.appendEnds(of: 4..<5, spans: [])
        }
        var words: [Int32] = []
        batch.pack(into: &words, extra: [10, 11])
        let layout = batch.layout(extraWords: 1)
        #expect(words.count == layout.wordCount)
        words.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            let inputs = PassInputs(layout, in: Tensor(pointer: base, dtype: .int32, shape: Shape(layout.wordCount)))
            func values(_ tensor: Tensor?) -> [Int32]? {
                tensor.map { Array(UnsafeBufferPointer(start: $0.pointer.assumingMemoryBound(to: Int32.self), count: $0.count)) }
            }
            #expect(values(inputs.tokenIDs) == [7, 8, 9] && values(inputs.positions) == [0, 1, 2, 3, 4, 5])
            #expect(values(inputs.slots) == [64, 65, -1] && values(inputs.queryStarts) == [0, 2, 3])
            #expect(values(inputs.contextLengths) == [2, 5] && values(inputs.blockTables) == [4, 0, 6, 5])
            #expect(values(inputs.outputRows) == [1, 2] && values(inputs.extra) == [10, 11])
            #expect(values(inputs.ends) == (hasEnds ? [2, 2, 5] : nil))
        }
    }
}
