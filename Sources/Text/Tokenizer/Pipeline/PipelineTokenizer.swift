import Synchronization

/// The tokenizer that a `tokenizer.json`, a SentencePiece model or a tiktoken file describes.
final class PipelineTokenizer: Tokenizer {
    let model: TokenizerModel
    let added: AddedVocabulary
    let normalizer: Normalizer?
    let preTokenizer: PreTokenizer?
    let postProcessor: PostProcessor?
    let decoder: Decoder?
    let names: SpecialTokenNames
    /// Whether decoding removes spaces before punctuation (`clean_up_tokenization_spaces`).
    let cleansUpSpaces: Bool

    /// The pre-tokenizer with its spelling left out, when the model takes raw bytes instead.
    private let rawPreTokenizer: PreTokenizer?
    /// Scratch of past calls, with the words they cached.
    private let scratch = Mutex<[BPEScratch]>([])

    /// The tokens that templates and the engine ask for by role.
    struct SpecialTokenNames: Sendable {
        var bos: String?
        var eos: String?
        var pad: String?
        var unk: String?
    }

    init(
        model: TokenizerModel, added: AddedVocabulary, normalizer: Normalizer?, preTokenizer: PreTokenizer?,
        postProcessor: PostProcessor?, decoder: Decoder?, names: SpecialTokenNames = SpecialTokenNames(),
        cleansUpSpaces: Bool = false
    ) {
        self.model = model
        self.added = added
        self.normalizer = normalizer
        self.preTokenizer = preTokenizer
        self.postProcessor = postProcessor
        self.decoder = decoder
        self.names = names
        self.cleansUpSpaces = cleansUpSpaces
        if case .bpe(let bpe) = model, bpe.acceptsRawBytes {
            rawPreTokenizer = preTokenizer?.withoutSpelling
        } else {
            rawPreTokenizer = nil
        }
    }

    var bosToken: String? { names.bos }
    var eosToken: String? { names.eos }
    var padToken: String? { names.pad }
    var unkToken: String? { names.unk }

    var vocabularySize: Int {
        model.count + added.tokens.values.count { model.id(of: Array($0.content.utf8)) == nil }
    }

    func tokenID(_ token: String) -> Int32? {
        let text = Array(token.utf8)
        return added.id(of: text) ?? model.id(of: text)
    }

    func token(_ id: Int32) -> String? {
        if let token = added.tokens[id] { return token.content }
        return model.vocabulary.withText(of: id) { String(decoding: $0, as: UTF8.self) }
    }

    func isSpecial(_ id: Int32) -> Bool {
        decodingText(of: id).map { added.isSpecial(text: $0) } ?? false
    }

    func decodingText(of id: Int32) -> [UInt8]? {
        added.decodingText(of: id) ?? model.vocabulary.text(of: id)
    }

    // MARK: - Encoding

    func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32] {
        var scratch = self.scratch.withLock { $0.popLast() } ?? BPEScratch()
        defer {
            let used = scratch
            self.scratch.withLock { if $0.count < 8 { $0.append(used) } }
        }
        var ids: [Int32] = []
        ids.reserveCapacity(text.utf8.count / 4 + 4)
        let bytes = Array(text.utf8)
        let spans = bytes.withUnsafeBufferPointer { added.spans(of: $0, normalized: false) }
        for span in spans {
            if let id = span.id {
                ids.append(id)
                continue
            }
            let isWhole = span.start == 0 && span.end == bytes.count
            var part = isWhole ? bytes : Array(bytes[span.start..<span.end])
            if let normalizer { part = try normalizer.normalize(part) }
            let inner = part.withUnsafeBufferPointer { added.spans(of: $0, normalized: true) }
            for innerSpan in inner where innerSpan.start < innerSpan.end {
                if let id = innerSpan.id {
                    ids.append(id)
                    continue
                }
                let isAll = innerSpan.start == 0 && innerSpan.end == part.count
                try encode(
                    isAll ? part : Array(part[innerSpan.start..<innerSpan.end]),
                    isOrigin: span.start == 0 && innerSpan.start == 0, scratch: &scratch, into: &ids)
            }
        }
        return postProcessor?.apply(to: ids, addSpecialTokens: addSpecialTokens) ?? ids
    }

    /// Cuts text without added tokens into words and gives them to the model.
    private func encode(
        _ bytes: [UInt8], isOrigin: Bool, scratch: inout BPEScratch, into ids: inout [Int32]
    ) throws(TokenizerError) {
        var text = PreTokenizedText(bytes, isOrigin: isOrigin)
        try (rawPreTokenizer ?? preTokenizer)?.apply(to: &text)
        let raw = rawPreTokenizer != nil
        let failure = text.bytes.withUnsafeBufferPointer { buffer -> TokenizerError? in
            do throws(TokenizerError) {
                for piece in text.pieces {
                    try model.encode(
                        UnsafeBufferPointer(rebasing: buffer[piece.start..<piece.end]), raw: raw, scratch: &scratch, into: &ids)
                }
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    // MARK: - Decoding

    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        var stream = PipelineStreamDecoder(self, skipSpecialTokens: skipSpecialTokens)
        var output: [UInt8] = []
        for id in ids { stream.append(id, into: &output) }
        stream.finish(into: &output)
        return String(decoding: output, as: UTF8.self)
    }

    func makeStreamDecoder(skipSpecialTokens: Bool) -> any TokenStreamDecoder {
        PipelineStreamDecoder(self, skipSpecialTokens: skipSpecialTokens)
    }
}

/// Decoding of one sequence: the decoder's steps in a row, then the clean-up of spaces.
struct PipelineStreamDecoder: TokenStreamDecoder {
    private let tokenizer: PipelineTokenizer
    private let skipSpecialTokens: Bool
    private var steps: [DecoderStep]
    private var cleaner: SpaceCleaner?

    init(_ tokenizer: PipelineTokenizer, skipSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
        steps = DecoderStep.steps(of: tokenizer.decoder)
        cleaner = tokenizer.cleansUpSpaces ? SpaceCleaner() : nil
    }

    mutating func append(_ id: Int32) -> String {
        var output: [UInt8] = []
        append(id, into: &output)
        return String(decoding: output, as: UTF8.self)
    }

    mutating func flush() -> String {
        var output: [UInt8] = []
        finish(into: &output)
        return String(decoding: output, as: UTF8.self)
    }

    mutating func append(_ id: Int32, into output: inout [UInt8]) {
        guard let text = tokenizer.decodingText(of: id) else { return }
        if skipSpecialTokens, tokenizer.added.isSpecial(text: text) { return }
        run([(text, true)], from: 0, into: &output)
    }

    mutating func finish(into output: inout [UInt8]) {
        for index in steps.indices {
            var pieces: [DecoderStep.Piece] = []
            steps[index].finish(into: &pieces)
            run(pieces, from: index + 1, into: &output)
        }
        if var cleaner {
            output += cleaner.flush()
            self.cleaner = cleaner
        }
    }

    private mutating func run(_ pieces: [DecoderStep.Piece], from first: Int, into output: inout [UInt8]) {
        var pieces = pieces
        for index in first..<max(first, steps.count) {
            var next: [DecoderStep.Piece] = []
            for piece in pieces { steps[index].push(piece, into: &next) }
            pieces = next
        }
        for piece in pieces {
            if cleaner != nil {
                output += cleaner?.push(piece.text) ?? []
            } else {
                output += piece.text
            }
        }
    }
}

/// `clean_up_tokenization` of transformers (tokenization_utils_base.py) on text that arrives in pieces.
///
/// Every rule removes spaces next to characters of a small set, so text up to a character outside that set is settled.
struct SpaceCleaner: Sendable {
    private var pending: [UInt8] = []
    private static let involved = Set(" .?!,'ntmsver".utf8)
    private static let rules: [([UInt8], [UInt8])] = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"),
        (" 've", "'ve"), (" 're", "'re"),
    ].map { (Array($0.0.utf8), Array($0.1.utf8)) }

    mutating func push(_ text: [UInt8]) -> [UInt8] {
        pending += text
        guard let last = pending.lastIndex(where: { !Self.involved.contains($0) }) else { return [] }
        let settled = Array(pending[...last])
        pending.removeSubrange(...last)
        return Self.clean(settled)
    }

    mutating func flush() -> [UInt8] {
        defer { pending.removeAll() }
        return Self.clean(pending)
    }

    private static func clean(_ text: [UInt8]) -> [UInt8] {
        rules.reduce(text) { $0.replacing($1.0, with: $1.1) }
    }
}
