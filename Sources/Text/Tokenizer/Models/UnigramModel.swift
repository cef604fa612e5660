/// A unigram language model: the segmentation of highest total score (models/unigram, `encode_optimized`).
struct UnigramModel: Sendable {
    let vocabulary: Vocabulary
    /// Score of each id.
    let scores: [Double]
    let unknownID: Int32?
    let byteFallback: Bool
    private let unknownScore: Double
    private let fallbackIDs: [Int32]
    private let trie: ByteTrie

    /// - Parameter matches: which pieces may be found in text; all by default.
    init(
        pieces: [(text: [UInt8], score: Double)], unknownID: Int32?, byteFallback: Bool, matches: [Bool]? = nil
    ) {
        var vocabulary = Vocabulary(expected: pieces.count)
        for (id, piece) in pieces.enumerated() { vocabulary.insert(piece.text, id: Int32(id)) }
        self.vocabulary = vocabulary
        self.unknownID = unknownID
        self.byteFallback = byteFallback
        scores = pieces.map(\.score)
        // sentencepiece's kUnkPenalty.
        unknownScore = (scores.min() ?? .infinity) - 10
        fallbackIDs = byteTokenIDs(in: vocabulary)
        var trie = ByteTrie()
        vocabulary.forEach { text, id in if matches?[Int(id)] ?? true { trie.insert(text, id: id) } }
        self.trie = trie
    }

    private struct Node {
        var id: Int32 = 0
        var score = 0.0
        var start = -1
    }

    func encode(_ word: UnsafeBufferPointer<UInt8>, into output: inout [Int32]) throws(TokenizerError) {
        guard !word.isEmpty else { return }
        var best = [Node](repeating: Node(), count: word.count + 1)
        var at = 0
        while at < word.count {
            let soFar = best[at].score
            let length = min(scalarLength(lead: word[at]), word.count - at)
            var hasSingle = false
            trie.forEachPrefix(of: word, from: at) { end, id in
                let score = scores[Int(id)] + soFar
                if best[end].start < 0 || score > best[end].score { best[end] = Node(id: id, score: score, start: at) }
                if end - at == length { hasSingle = true }
            }
            if !hasSingle {
                let score = unknownScore + soFar
                if best[at + length].start < 0 || score > best[at + length].score {
                    guard let unknownID else {
                        throw TokenizerError("model.unk_id", "the text has a character that no token covers, and unk_id is null")
                    }
                    best[at + length] = Node(id: unknownID, score: score, start: at)
                }
            }
            at += length
        }
        // From the end back; adjacent unknown characters are one token.
        var path: [(start: Int, end: Int, id: Int32)] = []
        var end = word.count
        while end > 0 {
            let node = best[end]
            if node.id == unknownID, let last = path.last, last.id == unknownID {
                path[path.count - 1].start = node.start
            } else {
                path.append((node.start, end, node.id))
            }
            end = node.start
        }
        for token in path.reversed() {
            let text = UnsafeBufferPointer(rebasing: word[token.start..<token.end])
            // Fused unknown characters may spell a token; the library looks their text up again.
            if let id = token.id == unknownID ? vocabulary.id(of: text) : token.id {
                output.append(id)
            } else if byteFallback, text.allSatisfy({ fallbackIDs[Int($0)] >= 0 }) {
                for byte in text { output.append(fallbackIDs[Int(byte)]) }
            } else {
                output.append(token.id)
            }
        }
    }
}

/// A trie over bytes with its edges in one hash table: node and byte → node.
struct ByteTrie: Sendable {
    private struct Edge { var key: UInt64, child: Int32 }
    private static let empty = UInt64.max

    private var edges: [Edge]
    private var mask: Int
    private var used = 0
    /// Token that ends at each node, or -1.
    private var ids: [Int32] = [-1]

    init() {
        edges = [Edge](repeating: Edge(key: Self.empty, child: 0), count: 1 << 12)
        mask = edges.count - 1
    }

    mutating func insert(_ text: UnsafeBufferPointer<UInt8>, id: Int32) {
        var node = 0
        for byte in text {
            let key = UInt64(node) << 8 | UInt64(byte)
            if let child = child(key) {
                node = child
                continue
            }
            if used * 2 >= edges.count { grow() }
            var slot = Int(truncatingIfNeeded: mix(key)) & mask
            while edges[slot].key != Self.empty { slot = (slot + 1) & mask }
            edges[slot] = Edge(key: key, child: Int32(ids.count))
            used += 1
            node = ids.count
            ids.append(-1)
        }
        ids[node] = id
    }

    private mutating func grow() {
        let old = edges
        edges = [Edge](repeating: Edge(key: Self.empty, child: 0), count: old.count * 2)
        mask = edges.count - 1
        for edge in old where edge.key != Self.empty {
            var slot = Int(truncatingIfNeeded: mix(edge.key)) & mask
            while edges[slot].key != Self.empty { slot = (slot + 1) & mask }
            edges[slot] = edge
        }
    }

    @inline(__always)
    private func child(_ key: UInt64) -> Int? {
        var slot = Int(truncatingIfNeeded: mix(key)) & mask
        while true {
            if edges[slot].key == key { return Int(edges[slot].child) }
            if edges[slot].key == Self.empty { return nil }
            slot = (slot + 1) & mask
        }
    }

    /// Calls `body` with end and id of every token that `text` holds at `start`, shortest first.
    @inline(__always)
    func forEachPrefix(of text: UnsafeBufferPointer<UInt8>, from start: Int, _ body: (Int, Int32) -> Void) {
        var node = 0
        var at = start
        while at < text.count, let child = child(UInt64(node) << 8 | UInt64(text[at])) {
            node = child
            at += 1
            if ids[node] >= 0 { body(at, ids[node]) }
        }
    }
}
