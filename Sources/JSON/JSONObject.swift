/// The members of a JSON object in the order of the file.
///
/// Keys are compared by their UTF-8 bytes. Swift's `String ==` treats canonically equivalent spellings (`é` composed and
/// decomposed) as equal, which would merge distinct vocabulary entries. As in Python, setting an existing key keeps its
/// place. Small objects are searched linearly; larger ones carry an index.
package struct JSONObject: Sendable, Sequence {
    package typealias Element = (key: String, value: JSONValue)

    private static let linearLimit = 12

    package private(set) var keys: [String]
    private var storage: [JSONValue]
    /// Key to position; empty while the object is small enough for a linear search.
    private var index: [ByteKey: Int]

    package init() {
        keys = []
        storage = []
        index = [:]
    }

    package init(_ pairs: [(String, JSONValue)]) {
        self.init()
        reserveCapacity(pairs.count)
        for (key, value) in pairs { self[key] = value }
    }

    package var count: Int { keys.count }
    package var isEmpty: Bool { keys.isEmpty }
    package var values: [JSONValue] { storage }

    package mutating func reserveCapacity(_ count: Int) {
        keys.reserveCapacity(count)
        storage.reserveCapacity(count)
    }

    package subscript(key: String) -> JSONValue? {
        get { position(of: key).map { storage[$0] } }
        set {
            if let position = position(of: key) {
                if let newValue {
                    storage[position] = newValue
                } else {
                    keys.remove(at: position)
                    storage.remove(at: position)
                    rebuildIndex()
                }
            } else if let newValue {
                keys.append(key)
                storage.append(newValue)
                if !index.isEmpty {
                    index[ByteKey(string: key)] = keys.count - 1
                } else if keys.count > Self.linearLimit {
                    rebuildIndex()
                }
            }
        }
    }

    package func makeIterator() -> AnyIterator<Element> {
        var position = 0
        return AnyIterator {
            guard position < keys.count else { return nil }
            defer { position += 1 }
            return (keys[position], storage[position])
        }
    }

    private func position(of key: String) -> Int? {
        if !index.isEmpty { return index[ByteKey(string: key)] }
        return keys.firstIndex { $0.hasSameBytes(as: key) }
    }

    private mutating func rebuildIndex() {
        index.removeAll()
        guard keys.count > Self.linearLimit else { return }
        index.reserveCapacity(keys.count)
        for (position, key) in keys.enumerated() { index[ByteKey(string: key)] = position }
    }
}

extension JSONObject: Equatable {
    /// Same members, in any order, as Python compares dictionaries.
    package static func == (a: JSONObject, b: JSONObject) -> Bool {
        guard a.count == b.count else { return false }
        return a.allSatisfy { b[$0.key] == $0.value }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, JSONValue)...) { self.init(elements) }
}

/// A string hashed and compared by its UTF-8 bytes.
private struct ByteKey: Hashable {
    let string: String

    static func == (a: ByteKey, b: ByteKey) -> Bool { a.string.hasSameBytes(as: b.string) }

    func hash(into hasher: inout Hasher) {
        var copy = string
        copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension String {
    /// Whether both strings are the same code points, without Unicode's canonical equivalence.
    package func hasSameBytes(as other: String) -> Bool {
        let (a, b) = (utf8, other.utf8)
        return a.count == b.count && a.elementsEqual(b)
    }
}
