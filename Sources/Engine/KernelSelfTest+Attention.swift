import Layers
import Tensors

extension KernelSelfTest {
    /// What attention is computed over.
    private struct Attention {
        var name: String
        var headSize: Int
        var heads = 6
        var kvHeads = 2
        var blockSize = 64
        /// New tokens and cached positions (new ones included) of each sequence.
        var sequences: [(new: Int, context: Int)]
        var window: Int?
        var softcap: Float?
        /// Runs of positions that see one another whole, in every sequence that has them new.
        var spans: [Range<Int>] = []
    }

    private static let headSizes = [64, 72, 80, 88, 96, 128, 256]

    /// Attention over the paged cache and inside segments.
    static func attentionCases(_ extent: Extent) -> [Case] {
        let full = extent == .full
        let decode = [(new: 1, context: 1), (1, 17), (1, 64), (1, 65), (1, 300), (1, 1000), (1, 129), (1, 128)]
        let mixed = [(new: 1, context: 70), (45, 90), (19, 19), (1, 1), (1, 257)]
        let chunk = [(new: 130, context: 300), (67, 67)]
        var cases: [Case] = []
        for headSize in full ? headSizes : [64, 80, 128] {
            cases.append(paged(Attention(name: "decode", headSize: headSize, sequences: decode)))
            cases.append(paged(Attention(name: "mixed", headSize: headSize, blockSize: 16, sequences: mixed)))
            guard full else { continue }
            cases.append(paged(Attention(name: "decode", headSize: headSize, blockSize: 16, sequences: decode)))
            cases.append(paged(Attention(name: "mixed", headSize: headSize, sequences: mixed)))
            cases.append(paged(Attention(name: "chunk", headSize: headSize, sequences: chunk)))
            cases.append(paged(Attention(name: "chunk", headSize: headSize, blockSize: 16, sequences: chunk)))
        }
        for headSize in full ? [64, 128, 80] : [64] {
            let shapes: [(name: String, [(new: Int, context: Int)])] = [("decode", decode), ("mixed", mixed), ("chunk", chunk)]
            for (name, sequences) in shapes {
                let base = Attention(name: name, headSize: headSize, sequences: sequences)
                var each = base
                each.window = 40
                cases.append(paged(each))
                each = base
                each.softcap = 2
                cases.append(paged(each))
                for (heads, kvHeads) in full ? [(7, 1), (4, 4), (28, 4), (12, 2), (32, 2)] : [(7, 1)] {
                    each = base
                    (each.heads, each.kvHeads) = (heads, kvHeads)
                    cases.append(paged(each))
                }
            }
        }
        // Pictures of 33 and 100 positions, one of them across tiles, and a prompt that is all one.
        for headSize in full ? [64, 128, 256, 80] : [64] {
            var spans = Attention(
                name: "spans", headSize: headSize, sequences: [(150, 180), (67, 67), (20, 20)], spans: [0..<5, 7..<40])
            cases.append(paged(spans))
            (spans.spans, spans.sequences) = ([31..<131], [(150, 180), (230, 231)])
            (spans.heads, spans.kvHeads) = (4, 1)
            cases.append(paged(spans))
            spans.window = 120
            cases.append(paged(spans))
            (spans.spans, spans.window, spans.softcap) = ([0..<300], nil, 30)
            spans.sequences = [(300, 300), (1, 301), (2, 302)]
            cases.append(paged(spans))
        }
        if full {
            // Long enough for many splits of one context, and for whole tiles without a mask.
            cases.append(paged(Attention(name: "long decode", headSize: 128, heads: 14, sequences: [(1, 5000), (1, 3)])))
            cases.append(paged(Attention(name: "long chunk", headSize: 128, sequences: [(600, 1500)])))
            cases.append(
                paged(Attention(name: "blocks of 1024", headSize: 64, blockSize: 1024, sequences: [(1, 1500), (70, 1100)])))
        }
        return cases + segmentedCases(full)
    }

    private static func segmentedCases(_ full: Bool) -> [Case] {
        let windows = [0, 4, 5, 21, 85, 149, 150, 150, 214]
        var cases: [Case] = []
        for headSize in full ? headSizes : [64, 80] {
            cases.append(segmented(headSize, heads: 4, kvHeads: 4, [0, 37, 101]))
            cases.append(segmented(headSize, heads: 4, kvHeads: 2, windows))
            guard full else { continue }
            cases.append(segmented(headSize, heads: 2, kvHeads: 2, [0, 1025]))
            cases.append(segmented(headSize, heads: 3, kvHeads: 3, (0...40).map { $0 * 16 }))
        }
        if full { cases.append(segmented(64, heads: 16, kvHeads: 16, [0, 1025, 2050])) }
        return cases
    }

    private static func segmented(_ headSize: Int, heads: Int, kvHeads: Int, _ starts: [Int]) -> Case {
        let rows = starts[starts.count - 1]
        return Case(name: "segmentedAttention \(rows)x\(heads)/\(kvHeads)x\(headSize), \(starts.count - 1) segments") {
            operands in
            let segments = starts.map(Int32.init)
            let width = (heads + 2 * kvHeads) * headSize
            let projected = try operands.activations(Shape(rows, width), seed: 40)
            func columns(_ first: Int, _ count: Int) -> Tensor {
                projected.columns(first * headSize..<(first + count) * headSize).reshaped(Shape(rows, count, headSize))
            }
            let out = try operands.output(Shape(rows, heads, headSize))
            try operands.backend.segmentedAttention(
                columns(0, heads), columns(heads, kvHeads), columns(heads + kvHeads, kvHeads),
                segments: try operands.context.upload(segments), hostSegments: segments,
                options: AttentionOptions(scale: 1 / Float(headSize).squareRoot()), into: out)
            return [out]
        }
    }

    private static func paged(_ attention: Attention) -> Case {
        let extras =
            (attention.window.map { ", window \($0)" } ?? "") + (attention.softcap.map { ", softcap \($0)" } ?? "")
            + attention.spans.map { ", all of \($0)" }.joined()
        let shape = "\(attention.heads)/\(attention.kvHeads)x\(attention.headSize)"
        return Case(name: "pagedAttention \(attention.name) \(shape), blocks of \(attention.blockSize)\(extras)") { operands in
            let cache = try PagedOperands(attention.sequences, attention, operands)
            let out = try operands.output(cache.query.shape)
            try operands.backend.pagedAttention(
                cache.query, cache: cache.layer, batch: cache.batch, options: cache.options, into: out)
            return [out]
        }
    }

    /// A filled cache with shuffled blocks and queries over it.
    private struct PagedOperands {
        let layer: KVCacheLayer
        /// A view of a projection's first columns.
        let query: Tensor
        let batch: PagedBatch
        let options: AttentionOptions

        init(_ sequences: [(new: Int, context: Int)], _ attention: Attention, _ operands: SelfTestOperands) throws {
            let context = operands.context
            let size = attention.blockSize
            let width = sequences.map { ($0.context + size - 1) / size }.max() ?? 0
            let count = width * sequences.count
            let stride = [7, 5, 3, 1].first { count % $0 != 0 } ?? 1
            let table = (0..<count).map { Int32(($0 * stride + 1) % count) }
            var slots: [Int32] = []
            for (index, sequence) in sequences.enumerated() {
                for position in 0..<sequence.context {
                    slots.append(table[index * width + position / size] * Int32(size) + Int32(position % size))
                }
            }
            let cache = try KVCache(
                layout: KVCacheLayout(layers: 1, kvHeads: attention.kvHeads, headSize: attention.headSize), blockCount: count,
                blockSize: size, backend: operands.backend)
            operands.keep(cache)
            layer = cache.layers[0]
            let cached = Shape(slots.count, attention.kvHeads, attention.headSize)
            let layer = layer
            try context.workspace.scope {
                try operands.backend.writeCache(
                    keys: try operands.activations(cached, seed: 41), values: try operands.activations(cached, seed: 42),
                    slots: try context.upload(slots), cache: layer)
                try operands.backend.synchronize()
            }
            var starts: [Int32] = [0]
            for sequence in sequences { starts.append(starts[starts.count - 1] + Int32(sequence.new)) }
            let rows = Int(starts[sequences.count])
            let projected = try operands.activations(
                Shape(rows, (attention.heads + 2 * attention.kvHeads) * attention.headSize), seed: 43)
            query = projected.columns(0..<attention.heads * attention.headSize)
                .reshaped(Shape(rows, attention.heads, attention.headSize))
            let lengths = sequences.map { Int32($0.context) }
            var spanned = ForwardBatch()
            for sequence in sequences where !attention.spans.isEmpty {
                spanned.appendEnds(of: sequence.context - sequence.new..<sequence.context, spans: attention.spans)
            }
            batch = PagedBatch(
                queryStarts: try context.upload(starts), contextLengths: try context.upload(lengths),
                blockTables: try context.upload(table).reshaped(Shape(sequences.count, width)), hostQueryStarts: starts,
                hostContextLengths: lengths, ends: spanned.ends.isEmpty ? nil : try context.upload(spanned.ends),
                hostEnds: spanned.ends)
            options = AttentionOptions(
                scale: 1 / Float(attention.headSize).squareRoot(), window: attention.window, softcap: attention.softcap)
        }
    }

    // MARK: Recorded work

    /// Work that is recorded for the longest context and replayed for others, with padding, as the engine decodes.
    static func recordedCases(_ extent: Extent) -> [Case] {
        let lengths = [1, 2, 63, 64, 65, 300, 511, 512]
        var cases = (extent == .full ? headSizes : [128]).map { headSize in
            recordedDecode(Attention(name: "decode", headSize: headSize, sequences: lengths.map { (1, $0) }))
        }
        cases.append(recordedDecode(Attention(name: "window", headSize: 128, sequences: lengths.map { (1, $0) }, window: 100)))
        cases.append(
            Case(name: "recorded chain") { operands in
                let x = try operands.activations(Shape(3, 256), seed: 44)
                let weight = try operands.linear(256, 256, seed: 45)
                let norm = try operands.parameters(Shape(256), seed: 46)
                let out = try operands.output(x.shape)
                func chain() throws {
                    try operands.backend.rmsNorm(x, weight: norm, epsilon: 1e-6, into: out)
                    try operands.backend.linear(out, weight, epilogue: .accumulate, into: x)
                }
                try twice(operands.backend, chain)
                return [x]
            })
        return cases
    }

    /// Runs `body` once as it is and once from a record, or twice where nothing can be recorded.
    private static func twice(_ backend: any Backend, _ body: () throws -> Void) throws {
        try body()
        if let device = backend as? any AsynchronousBackend {
            try device.replay(try device.record(body))
        } else {
            try body()
        }
    }

    private static func recordedDecode(_ attention: Attention) -> Case {
        Case(name: "recorded pagedAttention \(attention.name) 6/2x\(attention.headSize)") { operands in
            let paged = try PagedOperands(attention.sequences, attention, operands)
            let out = try operands.output(paged.query.shape)
            guard let device = operands.backend as? any AsynchronousBackend else {
                try operands.backend.pagedAttention(
                    paged.query, cache: paged.layer, batch: paged.batch, options: paged.options, into: out)
                return [out.rows(0..<out.rows - 1)]
            }
            // On the host every length is the longest; on the device the last row becomes padding before the replay.
            let lengths = attention.sequences.map { Int32($0.context) }
            let bounds = [Int32](repeating: lengths.max() ?? 0, count: lengths.count)
            let batch = PagedBatch(
                queryStarts: paged.batch.queryStarts, contextLengths: paged.batch.contextLengths,
                blockTables: paged.batch.blockTables, hostQueryStarts: paged.batch.hostQueryStarts, hostContextLengths: bounds)
            // Kernels are compiled on their first use, which cannot be recorded.
            try device.pagedAttention(paged.query, cache: paged.layer, batch: batch, options: paged.options, into: out)
            let work = try device.record {
                try device.pagedAttention(paged.query, cache: paged.layer, batch: batch, options: paged.options, into: out)
            }
            let actual = lengths.dropLast() + [0]
            try Array(actual).withUnsafeBytes { try device.upload($0, to: batch.contextLengths) }
            try [UInt8](repeating: 0xFF, count: out.byteCount).withUnsafeBytes {
                try device.upload($0, to: Tensor(pointer: out.pointer, dtype: .uint8, shape: Shape(out.byteCount)))
            }
            try device.replay(work)
            try device.synchronize()
            return [out.rows(0..<out.rows - 1)]
        }
    }
}
