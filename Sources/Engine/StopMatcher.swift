/// Finds stop words in streamed text, also across token borders.
///
/// Text that could be the beginning of a stop word is held back until it is decided.
package struct StopMatcher {
    private let words: [[UInt8]]
    private let keepsWord: Bool
    private var held: [UInt8] = []

    package init(words: [String], keepsWord: Bool) {
        self.words = words.map { Array($0.utf8) }
        self.keepsWord = keepsWord
    }

    /// Takes new text; returns what is safe to show, and whether a stop word was met. Nothing is safe after one.
    package mutating func append(_ text: String) -> (text: String, stopped: Bool) {
        guard !words.isEmpty else { return (text, false) }
        held.append(contentsOf: text.utf8)
        if let match = firstMatch() {
            let end = keepsWord ? match.upperBound : match.lowerBound
            let shown = String(decoding: held[..<end], as: UTF8.self)
            held.removeAll()
            return (shown, true)
        }
        let safe = held.count - openSuffixLength()
        let shown = String(decoding: held[..<safe], as: UTF8.self)
        held.removeFirst(safe)
        return (shown, false)
    }

    /// What was held back, when the response ends for another reason.
    package mutating func flush() -> String {
        defer { held.removeAll() }
        return String(decoding: held, as: UTF8.self)
    }

    /// The match that begins first; of those, the longest.
    private func firstMatch() -> Range<Int>? {
        for start in held.indices {
            let lengths = words.lazy.filter { held[start...].starts(with: $0) }.map(\.count)
            if let length = lengths.max() { return start..<start + length }
        }
        return nil
    }

    /// Length of the longest suffix of the held text that begins a stop word.
    private func openSuffixLength() -> Int {
        let longest = min(held.count, (words.map(\.count).max() ?? 0) - 1)
        for length in stride(from: longest, to: 0, by: -1) {
            let suffix = held.suffix(length)
            if words.contains(where: { $0.count > length && $0.starts(with: suffix) }) { return length }
        }
        return 0
    }
}
