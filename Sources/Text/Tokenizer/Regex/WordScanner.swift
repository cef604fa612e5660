/// A hand-written matcher for the split patterns of GPT-2, Qwen, Llama 3 and their kin, which match one word, number, run
/// of symbols or run of white space at a time and cover every character. Tests hold it equal to the regex engine.
struct WordScanner: Sendable {
    /// `'s|'t|…` matches capitals too, one other character may lead a word, symbols take the line breaks after them and
    /// white space up to a line break is one piece: the form that cl100k introduced. Otherwise GPT-2's.
    let isModern: Bool
    /// What words are made of: letters, in newer patterns marks too.
    let wordSet: CategorySet
    /// Most digits in a number; GPT-2's are unbounded.
    let digitLimit: Int

    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let tail = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// Patterns as published, with the scanner that equals each.
    static let known: [String: WordScanner] = {
        let letters = CategorySet.letter
        let gpt2 = WordScanner(isModern: false, wordSet: letters, digitLimit: .max)
        let single = WordScanner(isModern: true, wordSet: letters, digitLimit: 1)
        let triple = WordScanner(isModern: true, wordSet: letters, digitLimit: 3)
        let marks = WordScanner(isModern: true, wordSet: letters.union(.mark), digitLimit: 1)
        let head = contractions + #"|[^\r\n\p{L}\p{N}]?"#
        return [
            gpt2Pattern: gpt2,
            head + #"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + tail: single,
            head + #"\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + tail: single,
            head + #"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + tail: triple,
            head + #"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"# + tail: marks,
        ]
    }()

    static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// Calls `body` with the end of each piece; pieces follow one another from 0 to the end of `text`.
    func scan(_ text: UnsafeBufferPointer<UInt8>, _ body: (Int) -> Void) {
        let cursor = Cursor(text: text)
        var at = 0
        while at < text.count {
            at = isModern ? endOfModern(cursor, at) : endOfGPT2(cursor, at)
            body(at)
        }
    }

    /// Categories by position.
    private struct Cursor {
        let text: UnsafeBufferPointer<UInt8>
        let ascii = UnicodeTable.ascii
        let table = UnicodeTable.shared

        /// Category of the character at `at` and the position after it; an empty set at the end of the text.
        @inline(__always)
        func category(_ at: Int) -> (set: CategorySet, next: Int) {
            guard at < text.count else { return ([], at) }
            let byte = text[at]
            if byte < 0x80 { return (ascii.withUnsafeBufferPointer { $0[Int(byte)] }, at + 1) }
            let (scalar, length) = decodeScalar(text, at)
            return (table.category(scalar), at + length)
        }

        @inline(__always)
        func end(of set: CategorySet, from start: Int) -> Int {
            var at = start
            while true {
                let (found, next) = category(at)
                if found.isDisjoint(with: set) { return at }
                at = next
            }
        }
    }

    @inline(__always)
    private func endOfModern(_ cursor: Cursor, _ at: Int) -> Int {
        let (set, next) = cursor.category(at)
        let text = cursor.text
        let byte = text[at]
        // Words, with or without one other character in front.
        if !set.isDisjoint(with: wordSet) { return cursor.end(of: wordSet, from: next) }
        if byte == UInt8(ascii: "'"), let end = endOfContraction(text, next, anyCase: true) { return end }
        if !set.isDisjoint(with: .number) {
            var end = next
            for _ in 1..<max(1, digitLimit) {
                let (digit, after) = cursor.category(end)
                if digit.isDisjoint(with: .number) { break }
                end = after
            }
            return end
        }
        let (nextSet, afterNext) = cursor.category(next)
        if byte != 0x0A, byte != 0x0D, !nextSet.isDisjoint(with: wordSet) {
            return cursor.end(of: wordSet, from: afterNext)
        }
        // Symbols, with or without a space in front, and the line breaks after them.
        let notSymbol = wordSet.union(.number).union(.space)
        if set.isDisjoint(with: .space) {
            return endOfBreaks(text, cursor.end(of: CategorySet.all.subtracting(notSymbol), from: next))
        }
        if byte == 0x20, !nextSet.isEmpty, nextSet.isDisjoint(with: notSymbol) {
            return endOfBreaks(text, cursor.end(of: CategorySet.all.subtracting(notSymbol), from: afterNext))
        }
        // White space: up to its last line break, or all but the character that leads the next word.
        var end = at
        var last = at
        var lastBreak = -1
        while true {
            let (space, after) = cursor.category(end)
            if space.isDisjoint(with: .space) { break }
            if text[end] == 0x0A || text[end] == 0x0D { lastBreak = after }
            last = end
            end = after
        }
        if lastBreak >= 0 { return lastBreak }
        return end == text.count || last == at ? end : last
    }

    @inline(__always)
    private func endOfGPT2(_ cursor: Cursor, _ at: Int) -> Int {
        let text = cursor.text
        if text[at] == UInt8(ascii: "'"), let end = endOfContraction(text, at + 1, anyCase: false) { return end }
        var (set, next) = cursor.category(at)
        if text[at] == 0x20, next < text.count {
            let (nextSet, afterNext) = cursor.category(next)
            if nextSet.isDisjoint(with: .space) { (set, next) = (nextSet, afterNext) }
        }
        if !set.isDisjoint(with: wordSet) { return cursor.end(of: wordSet, from: next) }
        if !set.isDisjoint(with: .number) { return cursor.end(of: .number, from: next) }
        let notSymbol = wordSet.union(.number).union(.space)
        if set.isDisjoint(with: .space) { return cursor.end(of: CategorySet.all.subtracting(notSymbol), from: next) }
        let end = cursor.end(of: .space, from: next)
        if end == text.count || end == next { return end }
        return scalarStart(before: end, in: text)
    }

    private func endOfBreaks(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        var at = start
        while at < text.count, text[at] == 0x0A || text[at] == 0x0D { at += 1 }
        return at
    }

    /// The end of `s`, `t`, `re`, `ve`, `m`, `ll` or `d` at `at`, after an apostrophe.
    private func endOfContraction(_ text: UnsafeBufferPointer<UInt8>, _ at: Int, anyCase: Bool) -> Int? {
        guard at < text.count else { return nil }
        let fold: UInt8 = anyCase ? 0x20 : 0
        let second = at + 1 < text.count ? text[at + 1] | fold : 0
        switch text[at] | fold {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return at + 1
        case UInt8(ascii: "r") where second == UInt8(ascii: "e"): return at + 2
        case UInt8(ascii: "v") where second == UInt8(ascii: "e"): return at + 2
        case UInt8(ascii: "l") where second == UInt8(ascii: "l"): return at + 2
        // U+017F, the long s, is an s to case-insensitive matching.
        case 0xE5 where anyCase && text[at] == 0xC5 && at + 1 < text.count && text[at + 1] == 0xBF: return at + 2
        default: return nil
        }
    }
}
