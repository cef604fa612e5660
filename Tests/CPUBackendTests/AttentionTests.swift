import CPUBackend
import Tensors
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Softmax attention of one query row over `keys`, `values` (rows of E), in double precision.
private func attend(
    _ q: [Float], _ keys: [[Float]], _ values: [[Float]], scale: Float, softcap: Float?
) -> [Double] {
    guard !keys.isEmpty else { return [Double](repeating: 0, count: q.count) }
    let scores = keys.map { key in
        let score = zip(q, key).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } * Double(scale)
        return softcap.map { Double($0) * tanh(score / Double($0)) } ?? score
    }
    let top = scores.max() ?? 0
    let weights = scores.map { exp($0 - top) }
    let sum = weights.reduce(0, +)
    return q.indices.map { i in zip(weights, values).reduce(0.0) { $0 + $1.0 * Double($1.1[i]) } / sum }
}

/// A paged batch with its contents: what each sequence has cached, in scattered blocks, and its newest tokens' queries.
private struct PagedCase {
    var heads = 4
    var kvHeads = 2
    var headSize = 64
    var blockSize = 16
    /// New tokens and context of each sequence.
    var sequences: [(tokens: Int, context: Int)]
    var window: Int?
    var softcap: Float?
    var scale: Float?
    /// Runs of positions that see one another whole, in every sequence.
    var spans: [Range<Int>] = []
    var outlier: Float = 8
    var seed: UInt64 = 1

    /// Contents by sequence and position, so that a sequence has the same in every batch and a longer context begins like a
    /// shorter one: queries `[context][H * E]`, keys and values `[context][G * E]`.
    func contents(_ sequence: Int, context: Int, cacheType: DType) -> (q: [[Float]], k: [[Float]], v: [[Float]]) {
        func rows(_ kind: UInt64, _ width: Int, outlier: Float) -> [[Float]] {
            (0..<context).map { position in
                var noise = Noise(seed &* 7919 &+ UInt64(sequence) &* 1_000_003 &+ UInt64(position) &* 4 &+ kind)
                return noise.values(width, outlier: outlier)
            }
        }
        let q = rows(0, heads * headSize, outlier: outlier)
        let k = rows(1, kvHeads * headSize, outlier: outlier)
        let v = rows(2, kvHeads * headSize, outlier: 1)
        guard cacheType == .bfloat16 else { return (q, k, v) }
        return (q, k.map { $0.map(roundedToBF16) }, v.map { $0.map(roundedToBF16) })
    }

    /// How many positions a position sees.
    func end(_ position: Int, context: Int) -> Int {
        spans.first { $0.contains(position) }.map { min($0.upperBound, context) } ?? position + 1
    }

    /// Runs the batch and gives `[T, H, E]`; `only` keeps some of the sequences.
    func run(on backend: CPUBackend, only kept: [Int]? = nil) throws -> [Float] {
        let kept = kept ?? Array(sequences.indices)
        var noise = Noise(seed)
        let counts = kept.map { (sequences[$0].context + blockSize - 1) / blockSize }
        let maxBlocks = max(1, counts.max() ?? 0)
        let total = counts.reduce(0, +) + 3
        let order = noise.shuffled(total)
        let shape = Shape(total, kvHeads, blockSize, headSize)
        // Slots nobody owns hold NaN: reading one spoils the result.
        let empty = [Float](repeating: .nan, count: shape.count)
        let keys = GuardedTensor(shape, dtype: backend.cacheType, values: empty)
        let values = GuardedTensor(shape, dtype: backend.cacheType, values: empty)
        var (starts, contexts, tables, queries, used): ([Int32], [Int32], [Int32], [Float], Int) = ([0], [], [], [], 0)
        var ends: [Int32] = []
        for (index, s) in kept.enumerated() {
            let (tokens, context) = sequences[s]
            let content = contents(s, context: context, cacheType: backend.cacheType)
            let table = Array(order[used..<used + counts[index]])
            used += counts[index]
            tables += table + [Int32](repeating: 0, count: maxBlocks - table.count)
            let visible = window.map { max(0, context - tokens + 1 - $0) } ?? 0
            for position in visible..<max(visible, context) {
                for head in 0..<kvHeads {
                    for i in 0..<headSize {
                        let block = Int(table[position / blockSize])
                        let place = ((block * kvHeads + head) * blockSize + position % blockSize) * headSize + i
                        keys[place] = content.k[position][head * headSize + i]
                        values[place] = content.v[position][head * headSize + i]
                    }
                }
            }
            for position in context - tokens..<context {
                queries += content.q[position]
                ends.append(Int32(end(position, context: context)))
            }
            starts.append(starts[index] + Int32(tokens))
            contexts.append(Int32(context))
        }
        let rows = Int(starts[kept.count])
        let q = GuardedTensor(Shape(rows, heads, headSize), gap: 24, values: queries)
        let out = GuardedTensor(Shape(rows, heads, headSize), gap: 8)
        let table = GuardedTensor(indices: tables)
        let seen = GuardedTensor(indices: ends)
        let batch = PagedBatch(
            queryStarts: GuardedTensor(indices: starts).tensor, contextLengths: GuardedTensor(indices: contexts).tensor,
            blockTables: table.tensor.reshaped(Shape(kept.count, maxBlocks)), hostQueryStarts: starts,
            hostContextLengths: contexts, ends: spans.isEmpty ? nil : seen.tensor,
            hostEnds: spans.isEmpty ? [] : ends)
        try backend.pagedAttention(
            q.tensor, cache: KVCacheLayer(keys: keys.tensor, values: values.tensor), batch: batch, options: options,
            into: out.tensor)
        #expect(out.guardsAreIntact && table.guardsAreIntact && seen.guardsAreIntact)
        return out.values
    }

    var options: AttentionOptions {
        AttentionOptions(scale: scale ?? 1 / Float(headSize).squareRoot(), window: window, softcap: softcap)
    }

    func reference(cacheType: DType) -> [Double] {
        sequences.indices.flatMap { s -> [Double] in
            let (tokens, context) = sequences[s]
            let content = contents(s, context: context, cacheType: cacheType)
            return (context - tokens..<context).flatMap { position -> [Double] in
                let first = window.map { max(0, position + 1 - $0) } ?? 0
                return (0..<heads).flatMap { head -> [Double] in
                    let group = head / (heads / kvHeads) * headSize
                    let slice = { (row: [Float]) in Array(row[group..<group + headSize]) }
                    return attend(
                        Array(content.q[position][head * headSize..<(head + 1) * headSize]),
                        content.k[first..<end(position, context: context)].map(slice),
                        content.v[first..<end(position, context: context)].map(slice),
                        scale: options.scale, softcap: softcap)
                }
            }
        }
    }
}

/// Every level in float32, and in the fast mode, whose products may be in bfloat16.
private struct Level: CustomTestStringConvertible, Sendable {
    let instructionSet: InstructionSet
    let mode: CPUBackend.Mode

    var testDescription: String { "\(instructionSet) \(mode)" }

    static let all = InstructionSet.available.flatMap {
        [Level(instructionSet: $0, mode: .exact), Level(instructionSet: $0, mode: .fast)]
    }

    func backend(threads: Int = 2) throws -> CPUBackend {
        try CPUBackend(threads: threads, mode: mode, instructionSet: instructionSet)
    }

    /// Relative error allowed: float32 sums, or operands rounded to 8 bits of mantissa.
    var tolerance: Double { instructionSet == .avx512bf16 && mode == .fast ? 2e-2 : 3e-6 }
}

@Suite struct PagedAttentionTests {
    private static let cases: [PagedCase] = [
        // One sequence from nothing; ragged: a chunk, decoding rows, nothing new, an empty sequence.
        PagedCase(sequences: [(1, 1)]),
        PagedCase(sequences: [(37, 37)]),
        PagedCase(sequences: [(5, 90), (1, 300), (0, 12), (1, 1), (0, 0), (70, 70), (1, 64)]),
        // Odd head sizes, below and above a vector, padded tails, the largest.
        PagedCase(heads: 3, kvHeads: 3, headSize: 5, sequences: [(9, 20), (1, 33)]),
        PagedCase(heads: 2, kvHeads: 1, headSize: 8, sequences: [(9, 20), (1, 33)]),
        PagedCase(heads: 2, kvHeads: 2, headSize: 16, blockSize: 1, sequences: [(17, 40), (1, 19)]),
        PagedCase(heads: 6, kvHeads: 2, headSize: 24, blockSize: 2, sequences: [(17, 40), (1, 19)]),
        PagedCase(heads: 4, kvHeads: 4, headSize: 72, sequences: [(33, 140), (1, 150)]),
        PagedCase(heads: 4, kvHeads: 1, headSize: 80, blockSize: 64, sequences: [(65, 200), (1, 257)]),
        PagedCase(heads: 2, kvHeads: 1, headSize: 96, sequences: [(20, 20), (1, 129)]),
        PagedCase(heads: 12, kvHeads: 2, headSize: 128, blockSize: 64, sequences: [(50, 178), (1, 700), (1, 513)]),
        PagedCase(heads: 16, kvHeads: 1, headSize: 256, blockSize: 32, sequences: [(18, 60), (1, 140), (2, 130)]),
        // Groups of many heads; units that begin inside a token.
        PagedCase(heads: 43, kvHeads: 1, headSize: 16, sequences: [(31, 150), (1, 150)]),
        // Several tiles and several units of rows in one sequence.
        PagedCase(heads: 2, kvHeads: 1, headSize: 32, blockSize: 64, sequences: [(450, 561)]),
        // Windows shorter than, equal to and longer than tiles and contexts.
        PagedCase(sequences: [(40, 200), (1, 200)], window: 1),
        PagedCase(blockSize: 8, sequences: [(200, 330), (1, 600), (3, 20)], window: 31),
        PagedCase(sequences: [(150, 400), (1, 700)], window: 256),
        PagedCase(sequences: [(30, 60), (1, 60)], window: 1000),
        // Soft caps that bite and that do not.
        PagedCase(sequences: [(40, 170), (1, 300)], softcap: 3),
        PagedCase(sequences: [(40, 170), (1, 300)], window: 100, softcap: 50),
        // Pictures whose tokens see one another, within a tile and across tiles, in windows, and whole prompts.
        PagedCase(sequences: [(150, 180), (1, 300), (20, 20), (90, 120)], spans: [3..<9, 40..<140]),
        PagedCase(heads: 8, kvHeads: 1, headSize: 80, sequences: [(400, 450)], spans: [0..<1, 31..<287, 287..<300]),
        PagedCase(sequences: [(150, 400), (70, 70)], window: 64, softcap: 30, spans: [260..<300]),
        PagedCase(headSize: 128, sequences: [(300, 300), (2, 302), (0, 5)], spans: [0..<300]),
        // Scores in the thousands: all weight on a key or two.
        PagedCase(sequences: [(40, 170), (1, 300)], scale: 1, outlier: 300),
    ]

    @Test(arguments: Level.all) fileprivate func agreesWithTheReference(level: Level) throws {
        let backend = try level.backend()
        for (index, paged) in Self.cases.enumerated() {
            if level.tolerance > 1e-3 && paged.outlier > 100 { continue }  // bfloat16 scores of thousands pick other keys
            let error = relativeError(try paged.run(on: backend), paged.reference(cacheType: backend.cacheType))
            let tolerance = paged.outlier > 100 ? 1e-3 : level.tolerance
            #expect(error < tolerance, "case \(index): \(error)")
        }
    }

    @Test(arguments: Level.all) fileprivate func threadsAndNeighboursChangeNoBit(level: Level) throws {
        let (one, two) = (try level.backend(threads: 1), try level.backend(threads: 2))
        for paged in Self.cases where paged.sequences.count > 1 {
            let all = try paged.run(on: two)
            #expect(try paged.run(on: one) == all)
            var row = 0
            for s in paged.sequences.indices {
                let width = paged.heads * paged.headSize
                let count = paged.sequences[s].tokens * width
                #expect(try paged.run(on: two, only: [s]) == Array(all[row..<row + count]), "sequence \(s)")
                row += count
            }
        }
    }

    /// A prompt in chunks is the prompt in one piece, to the bit, whatever the chunks: single tokens too.
    @Test(arguments: Level.all) fileprivate func chunksEqualOneShot(level: Level) throws {
        let backend = try level.backend()
        for (heads, kvHeads, headSize, window, softcap) in [
            (6, 2, 80, nil, nil), (6, 2, 80, 50, nil), (4, 4, 64, 300, nil), (8, 1, 128, nil, 20), (9, 1, 40, nil, nil),
        ] as [(Int, Int, Int, Int?, Float?)] {
            func run(_ tokens: Int, _ context: Int) throws -> [Float] {
                try PagedCase(
                    heads: heads, kvHeads: kvHeads, headSize: headSize, sequences: [(tokens, context)], window: window,
                    softcap: softcap
                ).run(on: backend)
            }
            let pieces =
                try run(130, 130) + run(7, 137) + run(100, 237) + run(1, 238) + run(62, 300) + run(1, 301) + run(340, 641)
            #expect(try pieces == run(641, 641), "\(heads) heads of \(headSize), window \(window ?? 0)")
        }
    }

    /// What a token sees is computed alike in a decoding step, where the parts of the context are work of their own, and in a prompt.
    @Test(arguments: Level.all) fileprivate func decodingEqualsPrefill(level: Level) throws {
        let backend = try level.backend()
        for (heads, kvHeads, headSize) in [(6, 2, 80), (2, 2, 64), (14, 2, 64), (8, 1, 128)] {
            let context = 700
            let width = heads * headSize
            func run(_ tokens: Int, _ context: Int) throws -> [Float] {
                try PagedCase(heads: heads, kvHeads: kvHeads, headSize: headSize, sequences: [(tokens, context)]).run(on: backend)
            }
            let prefill = try run(context, context)
            for position in [0, 1, 99, 127, 128, 255, 256, 257, 511, 512, 699] {
                #expect(
                    try run(1, position + 1) == Array(prefill[position * width..<(position + 1) * width]),
                    "\(heads) heads of \(headSize) at \(position)")
            }
        }
    }

    @Test func misfitsThrow() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        let cache = KVCacheLayer(
            keys: GuardedTensor(Shape(4, 2, 16, 8)).tensor, values: GuardedTensor(Shape(4, 2, 16, 8)).tensor)
        let q = GuardedTensor(Shape(3, 4, 8), values: [Float](repeating: 0, count: 96))
        func run(_ starts: [Int32], _ contexts: [Int32], _ table: [Int32], scale: Float = 1) throws {
            let batch = PagedBatch(
                queryStarts: GuardedTensor(indices: starts).tensor, contextLengths: GuardedTensor(indices: contexts).tensor,
                blockTables: GuardedTensor(indices: table).tensor.reshaped(Shape(1, table.count)), hostQueryStarts: starts,
                hostContextLengths: contexts)
            try backend.pagedAttention(
                q.tensor, cache: cache, batch: batch, options: AttentionOptions(scale: scale), into: q.tensor)
        }
        #expect(throws: TensorError.self) { try run([0, 3], [2], [0]) }  // context shorter than the new tokens
        #expect(throws: TensorError.self) { try run([0, 3], [17], [0]) }  // context longer than the table
        #expect(throws: TensorError.self) { try run([0, 3], [16], [4]) }  // no such block
        #expect(throws: TensorError.self) { try run([0, 2], [16], [0]) }  // rows left over
        #expect(throws: TensorError.self) { try run([0, 3], [16], [0], scale: 0) }
    }
}

@Suite struct SegmentedAttentionTests {
    private struct Case {
        var heads = 2
        var kvHeads = 2
        var headSize = 64
        var lengths: [Int]
        var softcap: Float?
    }

    private static let cases: [Case] = [
        Case(lengths: [1]), Case(lengths: [0, 5, 0, 0, 64, 63, 1, 65, 0]),
        Case(heads: 4, headSize: 80, lengths: [64, 64, 40, 16]),
        Case(heads: 3, kvHeads: 3, headSize: 72, lengths: [257]), Case(heads: 1, kvHeads: 1, headSize: 128, lengths: [515]),
        Case(heads: 1, kvHeads: 1, headSize: 7, lengths: [130, 3]), Case(heads: 6, kvHeads: 3, headSize: 40, lengths: [100, 77]),
        Case(lengths: [90], softcap: 5), Case(lengths: []),
    ]

    /// Queries, keys and values as views of one fused projection `[T, (H + 2G) E]`.
    private static func run(_ c: Case, on backend: CPUBackend, seed: UInt64 = 5) throws -> (got: [Float], want: [Double]) {
        var noise = Noise(seed)
        let rows = c.lengths.reduce(0, +)
        let (qWidth, kWidth) = (c.heads * c.headSize, c.kvHeads * c.headSize)
        let width = qWidth + 2 * kWidth
        let data = noise.values(rows * width, outlier: 6)
        let fused = GuardedTensor(Shape(rows, width), values: data)
        let q = fused.tensor.columns(0..<qWidth).reshaped(Shape(rows, c.heads, c.headSize))
        let k = fused.tensor.columns(qWidth..<qWidth + kWidth).reshaped(Shape(rows, c.kvHeads, c.headSize))
        let v = fused.tensor.columns(qWidth + kWidth..<width).reshaped(Shape(rows, c.kvHeads, c.headSize))
        let out = GuardedTensor(Shape(rows, c.heads, c.headSize), gap: 16)
        let segments = c.lengths.reduce(into: [Int32(0)]) { $0.append(($0.last ?? 0) + Int32($1)) }
        let options = AttentionOptions(scale: 1 / Float(c.headSize).squareRoot(), softcap: c.softcap)
        try backend.segmentedAttention(
            q, k, v, segments: GuardedTensor(indices: segments).tensor, hostSegments: segments, options: options, into: out.tensor
        )
        #expect(out.guardsAreIntact)
        let want = zip(segments, segments.dropFirst()).flatMap { first, last -> [Double] in
            (first..<last).flatMap { row -> [Double] in
                (0..<c.heads).flatMap { head -> [Double] in
                    func slice(_ row: Int32, _ offset: Int) -> [Float] {
                        Array(data[Int(row) * width + offset..<Int(row) * width + offset + c.headSize])
                    }
                    let group = head / (c.heads / c.kvHeads) * c.headSize
                    return attend(
                        slice(row, head * c.headSize), (first..<last).map { slice($0, qWidth + group) },
                        (first..<last).map { slice($0, qWidth + kWidth + group) }, scale: options.scale, softcap: c.softcap)
                }
            }
        }
        return (out.values, want)
    }

    @Test(arguments: Level.all) fileprivate func agreesWithTheReference(level: Level) throws {
        let backend = try level.backend()
        for c in Self.cases {
            let (got, want) = try Self.run(c, on: backend)
            #expect(relativeError(got, want) < level.tolerance, "\(c): \(relativeError(got, want))")
        }
    }

    @Test(arguments: Level.all) fileprivate func threadsChangeNoBit(level: Level) throws {
        let (one, two) = (try level.backend(threads: 1), try level.backend(threads: 2))
        for c in Self.cases {
            #expect(try Self.run(c, on: one).got == Self.run(c, on: two).got)
        }
    }

    @Test func windowsAreRefused() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        let x = GuardedTensor(Shape(2, 1, 8), values: [Float](repeating: 0, count: 16)).tensor
        #expect(throws: TensorError.self) {
            try backend.segmentedAttention(
                x, x, x, segments: GuardedTensor(indices: [0, 2]).tensor, hostSegments: [0, 2],
                options: AttentionOptions(scale: 1, window: 4), into: x)
        }
    }
}

@Suite struct AttentionMeasurementTests {
    @Test func ratesFollowFromTheTime() throws {
        let backend = try CPUBackend(threads: 1, mode: .fast)
        let prefill = try backend.measurePagedAttention(
            tokens: 64, context: 100, heads: 4, kvHeads: 2, headSize: 32, seconds: 0)
        // Queries see 37 to 100 keys: 4384 pairs, of 4 heads of 32, two products of two operations.
        #expect(abs(prefill.rate * prefill.best - 4 * 4384 * 4 * 32) < 1)
        #expect(abs(prefill.bandwidth * prefill.best - 2 * 100 * 2 * 32 * 2) < 1)
        let vision = try backend.measureSegmentedAttention(segments: 3, length: 20, heads: 2, headSize: 16, seconds: 0)
        #expect(abs(vision.rate * vision.best - 4 * 3 * 20 * 20 * 2 * 16) < 1)
        #expect(vision.best <= vision.seconds)
    }
}
