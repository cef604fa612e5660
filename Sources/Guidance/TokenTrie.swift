/// Tokens by their bytes, as a trie laid out in preorder: a subtree is a range of nodes and of tokens.
struct TokenTrie: Sendable {
    struct Node {
        /// Last byte of the node's text.
        let byte: UInt8
        /// Length of the node's text, from 1.
        let depth: UInt16
        /// The first node that is not below this one.
        let end: Int32
        /// The node's own tokens are those from here to the next node's.
        let firstToken: Int32
    }

    /// With a last node that only closes the token range of the one before.
    let nodes: [Node]
    /// Token ids in the order of their bytes.
    let tokens: [Int32]
    let longest: Int

    /// - Parameter tokens: ids and their bytes, none empty or longer than 65,535.
    init(_ tokens: [(id: Int32, bytes: ArraySlice<UInt8>)]) {
        let sorted = tokens.sorted { a, b in
            a.bytes.withUnsafeBufferPointer { a in
                b.bytes.withUnsafeBufferPointer { b in a.lexicographicallyPrecedes(b) }
            }
        }
        self.tokens = sorted.map(\.id)
        var bytes: [UInt8] = []
        var depths: [UInt16] = []
        var firsts: [Int32] = []
        var ends: [Int32] = []
        var path: [Int] = []
        var previous: ArraySlice<UInt8> = []
        for (position, token) in sorted.enumerated() {
            let shared = zip(previous, token.bytes).prefix { $0 == $1 }.count
            for node in path[shared...] { ends[node] = Int32(bytes.count) }
            path.removeLast(path.count - shared)
            for byte in token.bytes.dropFirst(shared) {
                path.append(bytes.count)
                bytes.append(byte)
                depths.append(UInt16(path.count))
                firsts.append(Int32(position))
                ends.append(0)
            }
            previous = token.bytes
        }
        for node in path { ends[node] = Int32(bytes.count) }
        var nodes: [Node] = []
        nodes.reserveCapacity(bytes.count + 1)
        for index in bytes.indices {
            nodes.append(Node(byte: bytes[index], depth: depths[index], end: ends[index], firstToken: firsts[index]))
        }
        nodes.append(Node(byte: 0, depth: 0, end: Int32(bytes.count + 1), firstToken: Int32(sorted.count)))
        self.nodes = nodes
        longest = Int(depths.max() ?? 0)
    }
}
