/// A raw SentencePiece model (`tokenizer.model`, sentencepiece_model.proto).
struct SentencePieceModel {
    struct Piece {
        enum Kind: Int { case normal = 1, unknown, control, userDefined, unused, byte }
        var text: [UInt8] = []
        var score: Float = 0
        var kind = Kind.normal
    }

    private enum Algorithm: Int { case unigram = 1, bpe, word, character }

    private let file: String
    private(set) var pieces: [Piece] = []
    private var algorithm = Algorithm.unigram
    private var treatsWhitespaceAsSuffix = false
    private var byteFallback = false
    private var unknownID = 0
    private var boundaries: (bos: Int, eos: Int, pad: Int) = (1, 2, -1)
    private var map: [UInt8] = []
    private var addsDummyPrefix = true
    private var removesExtraWhitespace = true
    private var escapesWhitespace = true

    init(parsing bytes: [UInt8], file: String) throws(TokenizerError) {
        self.file = file
        var reader = ProtobufReader(bytes[...], file: file)
        while let (field, value) = try reader.next() {
            switch (field, value.bytes) {
            case (1, let message?): pieces.append(try Self.piece(message, file, index: pieces.count))
            case (2, let message?): try readTrainer(message)
            case (3, let message?): try readNormalizer(message)
            default: break
            }
        }
        guard !pieces.isEmpty else { throw TokenizerError(file, "is no SentencePiece model: it has no pieces") }
        guard pieces.count < Vocabulary.idLimit else { throw TokenizerError(file, "has too many pieces") }
        if let unknown = pieces.firstIndex(where: { $0.kind == .unknown }) { unknownID = unknown }
        guard pieces.indices.contains(unknownID) else {
            throw TokenizerError(file, "the unknown piece \(unknownID) is not among \(pieces.count) pieces")
        }
    }

    private static func piece(_ message: ArraySlice<UInt8>, _ file: String, index: Int) throws(TokenizerError) -> Piece {
        var piece = Piece()
        var reader = ProtobufReader(message, file: file)
        while let (field, value) = try reader.next() {
            switch field {
            case 1: piece.text = Array(value.bytes ?? [])
            case 2: piece.score = value.float ?? 0
            case 3: piece.kind = value.int.flatMap { Piece.Kind(rawValue: $0) } ?? .normal
            default: break
            }
        }
        guard String(validating: piece.text, as: UTF8.self) != nil else {
            throw TokenizerError(file, "piece \(index) is not UTF-8")
        }
        guard piece.score.isFinite else { throw TokenizerError(file, "piece \(index) has the score \(piece.score)") }
        return piece
    }

    private mutating func readTrainer(_ message: ArraySlice<UInt8>) throws(TokenizerError) {
        var reader = ProtobufReader(message, file: file)
        while let (field, value) = try reader.next() {
            switch field {
            case 3:
                guard let algorithm = value.int.flatMap({ Algorithm(rawValue: $0) }) else {
                    throw TokenizerError(file, "trainer_spec.model_type is unknown")
                }
                self.algorithm = algorithm
            case 24: treatsWhitespaceAsSuffix = value.bool ?? false
            case 35: byteFallback = value.bool ?? false
            case 40: unknownID = value.int ?? 0
            case 41: boundaries.bos = value.int.map { Int(Int32(truncatingIfNeeded: $0)) } ?? 1
            case 42: boundaries.eos = value.int.map { Int(Int32(truncatingIfNeeded: $0)) } ?? 2
            case 43: boundaries.pad = value.int.map { Int(Int32(truncatingIfNeeded: $0)) } ?? -1
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ message: ArraySlice<UInt8>) throws(TokenizerError) {
        var reader = ProtobufReader(message, file: file)
        while let (field, value) = try reader.next() {
            switch field {
            case 2: map = Array(value.bytes ?? [])
            case 3: addsDummyPrefix = value.bool ?? true
            case 4: removesExtraWhitespace = value.bool ?? true
            case 5: escapesWhitespace = value.bool ?? true
            default: break
            }
        }
    }

    /// The tokenizer as SentencePiece runs the model; or, for checkpoints of a Llama class, as transformers converts it:
    /// text between special tokens gets its leading space only if it has none, and no character map applies.
    func makeTokenizer(_ config: TokenizerConfig) throws(TokenizerError) -> PipelineTokenizer {
        let isLlama = ["LlamaTokenizer", "LlamaTokenizerFast"].contains(config.tokenizerClass)
        var vocabulary = Vocabulary(expected: pieces.count)
        // Later duplicates lose in SentencePiece; it refuses such models when loading.
        for (id, piece) in pieces.enumerated() where vocabulary.id(of: piece.text) == nil {
            vocabulary.insert(piece.text, id: Int32(id))
        }
        let model: TokenizerModel
        switch algorithm {
        case .bpe, .character:
            let options = BPEModel.Options(
                unknownToken: String(decoding: pieces[unknownID].text, as: UTF8.self), fuseUnknown: true,
                byteFallback: byteFallback || isLlama)
            model = .bpe(
                BPEModel(
                    vocabulary: vocabulary, merges: algorithm == .bpe ? merges(vocabulary, sharingRanks: !isLlama) : MergeTable(),
                    options: options))
        case .unigram:
            let greatest = pieces.lazy.filter { $0.kind == .normal }.map(\.score).max() ?? 0
            model = .unigram(
                UnigramModel(
                    pieces: pieces.map { piece in
                        let score =
                            piece.kind == .userDefined ? Float(piece.text.count) * greatest - 0.1 : piece.score
                        return (piece.text, Double(score))
                    }, unknownID: Int32(unknownID), byteFallback: byteFallback,
                    matches: pieces.map { $0.kind == .normal || $0.kind == .userDefined }))
        case .word:
            throw TokenizerError(file, "word models are not supported; expected bpe, unigram or char")
        }

        let userDefined = pieces.filter { $0.kind == .userDefined }.map(\.text)
        let normalizer: Normalizer?
        var preTokenizer: PreTokenizer?
        var decoders: [Decoder] = [.replace(.literal(Self.space), [0x20]), .byteFallback, .fuse]
        if isLlama {
            normalizer = nil
            let prefix = config.addPrefixSpace ?? true
            let scheme: Metaspace.PrependScheme = !prefix ? .never : config.isLegacy ? .always : .first
            preTokenizer = .metaspace(Metaspace(replacement: Self.space, prependScheme: scheme, splits: false))
            if prefix { decoders.append(.strip(content: [0x20], start: 1, stop: 0)) }
        } else {
            var symbols = TokenTrie()
            for (index, text) in userDefined.enumerated() { symbols.insert(text, id: Int32(index)) }
            normalizer = .sentencePiece(
                SentencePieceNormalizer(
                    map: try PrecompiledCharsMap(map, culprit: "\(file): normalizer_spec.precompiled_charsmap"),
                    addsDummyPrefix: addsDummyPrefix, removesExtraWhitespace: removesExtraWhitespace,
                    escapesWhitespace: escapesWhitespace, treatsWhitespaceAsSuffix: treatsWhitespaceAsSuffix, symbols: symbols))
            if addsDummyPrefix, !treatsWhitespaceAsSuffix { decoders.append(.strip(content: [0x20], start: 1, stop: 0)) }
        }

        var added = AddedVocabulary()
        let special = pieces.filter { $0.kind == .control || (isLlama && $0.kind == .unknown) }
            .map { AddedToken(content: String(decoding: $0.text, as: UTF8.self), isNormalized: false, isSpecial: true) }
        // SentencePiece meets user-defined symbols after normalizing, so that they end no stretch of text.
        let symbols = userDefined.map { AddedToken(content: String(decoding: $0, as: UTF8.self), isNormalized: !isLlama) }
        try added.add(special + symbols, model: model, normalizer: nil)

        func name(_ id: Int) -> String? {
            pieces.indices.contains(id) ? String(decoding: pieces[id].text, as: UTF8.self) : nil
        }
        return PipelineTokenizer(
            model: model, added: added, normalizer: normalizer, preTokenizer: preTokenizer, postProcessor: nil,
            decoder: .sequence(decoders),
            names: .init(
                bos: name(boundaries.bos), eos: name(boundaries.eos), pad: name(boundaries.pad), unk: name(unknownID)))
    }

    private static let space: [UInt8] = [0xE2, 0x96, 0x81]

    /// Every way to make a piece of two others, best piece first.
    ///
    /// SentencePiece merges whatever pair makes a piece, by the piece's score and from the left, so all ways to make a
    /// piece share its rank; transformers' conversion gives each its own, by id of the piece and length of the left part.
    private func merges(_ vocabulary: Vocabulary, sharingRanks: Bool) -> MergeTable {
        let isPart = pieces.map { $0.kind == .normal || $0.kind == .userDefined || $0.kind == .unused || $0.kind == .byte }
        var order = pieces.indices.filter { pieces[$0].kind == .normal || pieces[$0].kind == .unused }
        if sharingRanks { order.sort { (-pieces[$0].score, $0) < (-pieces[$1].score, $1) } }
        var table = MergeTable(expected: pieces.count * 2)
        for id in order {
            pieces[id].text.withUnsafeBufferPointer { text in
                var ways: [(Int32, Int32)] = []
                for at in 1..<max(1, text.count) where text[at] & 0xC0 != 0x80 {
                    if let left = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[..<at])), isPart[Int(left)],
                        let right = vocabulary.id(of: UnsafeBufferPointer(rebasing: text[at...])), isPart[Int(right)]
                    {
                        ways.append((left, right))
                    }
                }
                for (position, way) in ways.enumerated() {
                    table.append(way.0, way.1, into: Int32(id), sharesRank: sharingRanks && position > 0)
                }
            }
        }
        return table
    }
}
