/// What a text is split at.
enum SplitPattern: Sendable {
    /// A well-known regular expression, matched by hand-written code.
    case scanner(WordScanner)
    case regex(Regex)
    /// A literal string, not empty.
    case literal([UInt8])
    /// Single characters of a set.
    case scalars(ScalarSet)

    init(regex source: String, culprit: String) throws(TokenizerError) {
        if let scanner = WordScanner.known[source] {
            self = .scanner(scanner)
        } else {
            self = .regex(try Regex(source, culprit: culprit))
        }
    }

    /// Calls `body` with start and end of each match, in order.
    func forEachMatch(
        in text: UnsafeBufferPointer<UInt8>, _ body: (Int, Int) -> Void
    ) throws(TokenizerError) {
        switch self {
        case .scanner(let scanner):
            var start = 0
            scanner.scan(text) { end in
                body(start, end)
                start = end
            }
        case .regex(let regex):
            try regex.forEachMatch(in: text, body)
        case .literal(let needle):
            guard let first = needle.first else { return }
            var at = 0
            while at + needle.count <= text.count {
                if text[at] == first, needle.indices.allSatisfy({ text[at + $0] == needle[$0] }) {
                    body(at, at + needle.count)
                    at += needle.count
                } else {
                    at += 1
                }
            }
        case .scalars(let set):
            var at = 0
            while at < text.count {
                let (scalar, length) = decodeScalar(text, at)
                if set.contains(scalar) { body(at, at + length) }
                at += length
            }
        }
    }
}

/// What becomes of the matches of a split pattern (`SplitDelimiterBehavior`).
enum SplitBehavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
}

extension SplitPattern {
    /// Calls `body` with the pieces that splitting `text` leaves; empty ones too.
    /// - Parameter invert: matches and the gaps between them change roles.
    func split(
        _ text: UnsafeBufferPointer<UInt8>, behavior: SplitBehavior, invert: Bool, _ body: (Int, Int) -> Void
    ) throws(TokenizerError) {
        var previousEnd = 0
        if behavior == .isolated {
            try forEachMatch(in: text) { start, end in
                if previousEnd != start { body(previousEnd, start) }
                body(start, end)
                previousEnd = end
            }
            if previousEnd != text.count { body(previousEnd, text.count) }
            return
        }
        var spans: [(start: Int, end: Int, isMatch: Bool)] = []
        try forEachMatch(in: text) { start, end in
            if previousEnd != start { spans.append((previousEnd, start, invert)) }
            spans.append((start, end, !invert))
            previousEnd = end
        }
        if previousEnd != text.count { spans.append((previousEnd, text.count, invert)) }

        var pieces: [(start: Int, end: Int)] = []
        var previousMatched = false
        switch behavior {
        case .isolated, .removed:
            pieces = spans.lazy.filter { !$0.isMatch }.map { ($0.start, $0.end) }
        case .contiguous:
            for span in spans {
                if span.isMatch == previousMatched, !pieces.isEmpty {
                    pieces[pieces.count - 1].end = span.end
                } else {
                    pieces.append((span.start, span.end))
                }
                previousMatched = span.isMatch
            }
        case .mergedWithPrevious:
            for span in spans {
                if span.isMatch, !previousMatched, !pieces.isEmpty {
                    pieces[pieces.count - 1].end = span.end
                } else {
                    pieces.append((span.start, span.end))
                }
                previousMatched = span.isMatch
            }
        case .mergedWithNext:
            for span in spans.reversed() {
                if span.isMatch, !previousMatched, !pieces.isEmpty {
                    pieces[pieces.count - 1].start = span.start
                } else {
                    pieces.append((span.start, span.end))
                }
                previousMatched = span.isMatch
            }
            pieces.reverse()
        }
        for piece in pieces { body(piece.start, piece.end) }
    }
}
