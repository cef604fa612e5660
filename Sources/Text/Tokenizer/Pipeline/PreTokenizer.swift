/// A text on its way to the model: the bytes, cut into pieces.
struct PreTokenizedText {
    struct Piece {
        var start: Int
        var end: Int
        /// Whether the piece begins where the whole input begins.
        var isOrigin: Bool
    }

    var bytes: [UInt8]
    var pieces: [Piece]

    /// One piece for all of `bytes`.
    init(_ bytes: [UInt8], isOrigin: Bool) {
        self.bytes = bytes
        pieces = bytes.isEmpty ? [] : [Piece(start: 0, end: bytes.count, isOrigin: isOrigin)]
    }

    /// Replaces each piece by those that `split` gives for it, leaving out empty ones.
    mutating func split(
        _ split: (UnsafeBufferPointer<UInt8>, (Int, Int) -> Void) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        var result: [Piece] = []
        result.reserveCapacity(max(pieces.count, bytes.count / 5))
        let failure = bytes.withUnsafeBufferPointer { buffer -> TokenizerError? in
            do throws(TokenizerError) {
                for piece in pieces {
                    try split(UnsafeBufferPointer(rebasing: buffer[piece.start..<piece.end])) { start, end in
                        if start < end {
                            result.append(
                                Piece(
                                    start: piece.start + start, end: piece.start + end, isOrigin: piece.isOrigin && start == 0))
                        }
                    }
                }
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
        pieces = result
    }

    /// Rewrites each piece: `rewrite` appends its new text.
    mutating func map(_ rewrite: (UnsafeBufferPointer<UInt8>, Piece, inout [UInt8]) -> Void) {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count + bytes.count / 4 + 8)
        var result: [Piece] = []
        result.reserveCapacity(pieces.count)
        bytes.withUnsafeBufferPointer { buffer in
            for piece in pieces {
                let start = output.count
                rewrite(UnsafeBufferPointer(rebasing: buffer[piece.start..<piece.end]), piece, &output)
                if output.count > start {
                    result.append(Piece(start: start, end: output.count, isOrigin: piece.isOrigin))
                }
            }
        }
        bytes = output
        pieces = result
    }
}

/// A pre-tokenizer of `tokenizer.json`: cuts text into the words that the model sees one by one.
indirect enum PreTokenizer: Sendable {
    /// Splits at a pattern.
    case split(SplitPattern, behavior: SplitBehavior, invert: Bool)
    /// Puts a space in front of pieces that lack one, splits by GPT-2's pattern, spells bytes in the byte-level alphabet.
    case byteLevel(addPrefixSpace: Bool, splits: Bool, spells: Bool)
    case metaspace(Metaspace)
    /// Runs of one script.
    case unicodeScripts
    /// Pieces of a number of characters.
    case fixedLength(Int)
    case sequence([PreTokenizer])

    func apply(to text: inout PreTokenizedText) throws(TokenizerError) {
        switch self {
        case .split(let pattern, let behavior, let invert):
            try text.split { (buffer, emit) throws(TokenizerError) in
                try pattern.split(buffer, behavior: behavior, invert: invert, emit)
            }
        case .byteLevel(let addPrefixSpace, let splits, let spells):
            let space = UInt8(ascii: " ")
            if addPrefixSpace, text.pieces.contains(where: { text.bytes[$0.start] != space }) {
                text.map { buffer, _, output in
                    if buffer[0] != space { output.append(space) }
                    output.append(contentsOf: buffer)
                }
            }
            if splits, let scanner = WordScanner.known[WordScanner.gpt2Pattern] {
                try text.split { (buffer, emit) throws(TokenizerError) in
                    try SplitPattern.scanner(scanner).forEachMatch(in: buffer, emit)
                }
            }
            if spells { text.map { buffer, _, output in ByteLevelAlphabet.spell(buffer, into: &output) } }
        case .metaspace(let metaspace):
            try metaspace.apply(to: &text)
        case .unicodeScripts:
            try text.split { (buffer, emit) throws(TokenizerError) in UnicodeScripts.split(buffer, emit) }
        case .fixedLength(let length):
            try text.split { (buffer, emit) throws(TokenizerError) in
                var start = 0
                var at = 0
                var characters = 0
                while at < buffer.count {
                    at += scalarLength(lead: buffer[at])
                    characters += 1
                    if characters == length {
                        emit(start, at)
                        (start, characters) = (at, 0)
                    }
                }
                emit(start, at)
            }
        case .sequence(let steps):
            for step in steps { try step.apply(to: &text) }
        }
    }

    /// The same pre-tokenizer without its final spelling in the byte-level alphabet; nil when it does not end with one.
    var withoutSpelling: PreTokenizer? {
        switch self {
        case .byteLevel(let addPrefixSpace, let splits, spells: true):
            return .byteLevel(addPrefixSpace: addPrefixSpace, splits: splits, spells: false)
        case .sequence(let steps):
            guard let last = steps.last?.withoutSpelling else { return nil }
            return .sequence(steps.dropLast() + [last])
        default:
            return nil
        }
    }
}

/// Spaces become a visible character, which may also be put in front (SentencePiece's convention).
struct Metaspace: Sendable {
    enum PrependScheme: String, Sendable { case always, first, never }

    let replacement: [UInt8]
    let prependScheme: PrependScheme
    let splits: Bool

    func apply(to text: inout PreTokenizedText) throws(TokenizerError) {
        text.map { buffer, piece, output in
            let prepends =
                switch prependScheme {
                case .always: true
                case .first: piece.isOrigin
                case .never: false
                }
            if prepends, buffer[0] != 0x20, !buffer.starts(with: replacement) { output += replacement }
            for byte in buffer {
                if byte == 0x20 { output += replacement } else { output.append(byte) }
            }
        }
        guard splits else { return }
        let pattern = SplitPattern.literal(replacement)
        try text.split { (buffer, emit) throws(TokenizerError) in
            try pattern.split(buffer, behavior: .mergedWithNext, invert: false, emit)
        }
    }
}
