/// A decoder of `tokenizer.json`: turns token texts back into text.
indirect enum Decoder: Sendable {
    case byteLevel
    case byteFallback
    case fuse
    case strip(content: [UInt8], start: Int, stop: Int)
    case replace(SplitPattern, [UInt8])
    case metaspace(Metaspace)
    case wordPiece(prefix: [UInt8], cleansUp: Bool)
    case bpe(suffix: [UInt8])
    case ctc(padToken: [UInt8], wordDelimiter: [UInt8], cleansUp: Bool)
    case sequence([Decoder])

    /// The steps in order, sequences unfolded.
    var steps: [Decoder] {
        if case .sequence(let decoders) = self { decoders.flatMap(\.steps) } else { [self] }
    }
}

/// A step of decoding that takes token texts as they come.
///
/// Between steps flows a list of strings, as in the library, but piecewise: a piece either starts the next string or
/// continues the last one. Each step gives out what later tokens can no longer change and keeps the rest.
struct DecoderStep {
    typealias Piece = (text: [UInt8], startsString: Bool)

    private enum State {
        case byteLevel(IncrementalUTF8)
        case byteFallback([UInt8])
        case strip(content: [UInt8], start: Int, stop: Int, leading: Int, held: Int)
        case replace(SplitPattern, [UInt8])
        case metaspace(Metaspace)
        case wordPiece(prefix: [UInt8], cleansUp: Bool)
        case bpe(suffix: [UInt8], held: [UInt8]?)
        case ctc(padToken: [UInt8], wordDelimiter: [UInt8], cleansUp: Bool, last: [UInt8]?)
        case fuse
        case joinWithSpaces
    }

    private var state: State
    /// Strings arrive in pieces, and this step needs whole ones: it gathers the string until the end.
    private let gathers: Bool
    private var gathered: [UInt8]?
    private var isFirst = true
    private var isInFirstString = true

    /// The steps of a decoder; without one, token texts are joined with spaces.
    static func steps(of decoder: Decoder?) -> [DecoderStep] {
        guard let decoder else { return [DecoderStep(.joinWithSpaces, gathers: false)] }
        var isFused = false
        return decoder.steps.map { decoder in
            let upstreamFused = isFused
            switch decoder {
            case .byteLevel:
                isFused = true
                return DecoderStep(.byteLevel(IncrementalUTF8()), gathers: upstreamFused)
            case .fuse:
                isFused = true
                return DecoderStep(.fuse, gathers: false)
            case .byteFallback: return DecoderStep(.byteFallback([]), gathers: upstreamFused)
            case .strip(let content, let start, let stop):
                return DecoderStep(.strip(content: content, start: start, stop: stop, leading: start, held: 0), gathers: false)
            case .replace(let pattern, let content):
                return DecoderStep(.replace(pattern, content), gathers: upstreamFused)
            case .metaspace(let metaspace): return DecoderStep(.metaspace(metaspace), gathers: false)
            case .wordPiece(let prefix, let cleansUp):
                return DecoderStep(.wordPiece(prefix: prefix, cleansUp: cleansUp), gathers: upstreamFused)
            case .bpe(let suffix): return DecoderStep(.bpe(suffix: suffix, held: nil), gathers: upstreamFused)
            case .ctc(let padToken, let wordDelimiter, let cleansUp):
                return DecoderStep(
                    .ctc(padToken: padToken, wordDelimiter: wordDelimiter, cleansUp: cleansUp, last: nil), gathers: upstreamFused)
            case .sequence: return DecoderStep(.fuse, gathers: false)
            }
        }
    }

    private init(_ state: State, gathers: Bool) {
        self.state = state
        self.gathers = gathers
    }

    /// Takes a piece and appends what is certain to `output`.
    mutating func push(_ piece: Piece, into output: inout [Piece]) {
        guard gathers else { return process(piece, into: &output) }
        if piece.startsString, let whole = gathered {
            process((whole, true), into: &output)
            gathered = nil
        }
        gathered = (gathered ?? []) + piece.text
    }

    private mutating func process(_ piece: Piece, into output: inout [Piece]) {
        let text = piece.text
        if piece.startsString { isInFirstString = isFirst }
        switch state {
        case .byteLevel(var decoder):
            var bytes: [UInt8] = []
            text.withUnsafeBufferPointer { ByteLevelAlphabet.decode($0, into: &bytes) }
            output.append((decoder.push(bytes), isFirst))
            state = .byteLevel(decoder)
        case .byteFallback(var pending):
            if let byte = Self.fallbackByte(text) {
                pending.append(byte)
                state = .byteFallback(pending)
            } else {
                Self.flush(pending, into: &output)
                state = .byteFallback([])
                output.append(piece)
            }
        case .strip(let content, let start, let stop, var leading, var held):
            if piece.startsString { (leading, held) = (start, 0) }
            var rest = text[...]
            while leading > 0, rest.starts(with: content), !content.isEmpty {
                rest = rest.dropFirst(content.count)
                leading -= 1
            }
            if !rest.isEmpty { leading = 0 }
            var result: [UInt8] = []
            if stop > 0 {
                // The last characters may prove to be the string's end.
                var trailing = 0
                while rest.count >= content.count, !content.isEmpty, rest.suffix(content.count).elementsEqual(content) {
                    rest = rest.dropLast(content.count)
                    trailing += 1
                }
                let released = rest.isEmpty ? max(0, held + trailing - stop) : held
                for _ in 0..<released { result += content }
                result += rest
                if !rest.isEmpty {
                    for _ in 0..<max(0, trailing - stop) { result += content }
                    held = min(trailing, stop)
                } else {
                    held = held + trailing - released
                }
            } else {
                result += rest
            }
            output.append((result, piece.startsString))
            state = .strip(content: content, start: start, stop: stop, leading: leading, held: held)
        case .replace(let pattern, let content):
            output.append(((try? pattern.replace(in: text, with: content)) ?? text, piece.startsString))
        case .metaspace(let metaspace):
            let drops = metaspace.prependScheme != .never && isInFirstString
            output.append((text.replacing(metaspace.replacement, with: drops ? [] : [0x20]), piece.startsString))
        case .wordPiece(let prefix, let cleansUp):
            var result = text
            if !isFirst { result = text.starts(with: prefix) ? Array(text.dropFirst(prefix.count)) : [0x20] + text }
            output.append((cleansUp ? Self.cleanUp(result) : result, true))
        case .bpe(let suffix, let held):
            if let held { output.append((held.replacing(suffix, with: [0x20]), true)) }
            state = .bpe(suffix: suffix, held: text)
        case .ctc(let padToken, let wordDelimiter, let cleansUp, let last):
            state = .ctc(padToken: padToken, wordDelimiter: wordDelimiter, cleansUp: cleansUp, last: text)
            guard text != last else { break }
            var result = text.replacing(padToken, with: [])
            if cleansUp { result = Self.cleanUp(result).replacing(wordDelimiter, with: [0x20]) }
            if !result.isEmpty { output.append((result, true)) }
        case .fuse:
            output.append((text, isFirst))
        case .joinWithSpaces:
            output.append((isFirst ? text : [0x20] + text, true))
        }
        isFirst = false
    }

    /// Appends what was kept, at the end of the sequence.
    mutating func finish(into output: inout [Piece]) {
        if let whole = gathered {
            gathered = nil
            process((whole, true), into: &output)
        }
        switch state {
        case .byteLevel(var decoder):
            output.append((decoder.flush(), isFirst))
            state = .byteLevel(IncrementalUTF8())
        case .byteFallback(let pending):
            Self.flush(pending, into: &output)
            state = .byteFallback([])
        case .bpe(let suffix, let held):
            if let held { output.append((held.replacing(suffix, with: []), true)) }
            state = .bpe(suffix: suffix, held: nil)
        default: break
        }
    }

    /// The byte that a token like `<0x0A>` stands for.
    static func fallbackByte(_ text: [UInt8]) -> UInt8? {
        guard text.count == 6, text.starts(with: "<0x".utf8), text[5] == UInt8(ascii: ">") else { return nil }
        return UInt8(String(decoding: text[3..<5], as: UTF8.self), radix: 16)
    }

    /// A run of byte tokens is one string if it is UTF-8, else a replacement character per byte.
    private static func flush(_ pending: [UInt8], into output: inout [Piece]) {
        guard !pending.isEmpty else { return }
        if String(validating: pending, as: UTF8.self) != nil {
            output.append((pending, true))
        } else {
            for _ in pending { output.append(([0xEF, 0xBF, 0xBD], true)) }
        }
    }

    /// The WordPiece decoder's clean-up of English punctuation.
    private static func cleanUp(_ text: [UInt8]) -> [UInt8] {
        let rules: [(String, String)] = [
            (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
        ]
        guard text.contains(0x20) else { return text }
        return rules.reduce(text) { $0.replacing(Array($1.0.utf8), with: Array($1.1.utf8)) }
    }
}

extension [UInt8] {
    /// Every occurrence of `needle` replaced, from left to right; an empty needle changes nothing.
    func replacing(_ needle: [UInt8], with replacement: [UInt8]) -> [UInt8] {
        guard let first = needle.first, contains(first) else { return self }
        var output: [UInt8] = []
        output.reserveCapacity(count)
        var at = 0
        while at < count {
            if self[at] == first, at + needle.count <= count, self[at..<at + needle.count].elementsEqual(needle) {
                output += replacement
                at += needle.count
            } else {
                output.append(self[at])
                at += 1
            }
        }
        return output
    }
}
