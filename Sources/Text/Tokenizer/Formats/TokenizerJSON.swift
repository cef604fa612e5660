import JSON

/// A parsed `tokenizer.json`: small components as values, vocabulary and merges straight from the file's bytes.
struct TokenizerJSON {
    private(set) var model: TokenizerModel
    private(set) var addedTokens: [AddedToken] = []
    private(set) var normalizer: Normalizer?
    private(set) var preTokenizer: PreTokenizer?
    private(set) var postProcessor: PostProcessor?
    private(set) var decoder: Decoder?

    init(contentsOf path: String) throws {
        try self.init(parsing: readFile(path), file: path)
    }

    init(parsing bytes: [UInt8], file: String) throws {
        let result = bytes.withUnsafeBufferPointer { buffer in
            Result { try Self.read(buffer, file: file) }
        }
        let (model, components) = try result.get()
        self.model = model
        let root = ComponentReader(value: .object(components), path: "$", file: file)
        if let version = root["version"]?.value, version != "1.0" {
            throw root.error("unknown tokenizer version \(version.serialized()); expected \"1.0\"")
        }
        if root["added_tokens"] != nil {
            for token in try root.elements("added_tokens") { addedTokens.append(try token.addedToken()) }
        }
        normalizer = try root["normalizer"]?.normalizer()
        preTokenizer = try root["pre_tokenizer"]?.preTokenizer()
        postProcessor = try root["post_processor"]?.postProcessor()
        decoder = try root["decoder"]?.decoder()
    }

    /// The tokenizer without what `tokenizer_config.json` adds.
    func makeTokenizer() throws(TokenizerError) -> PipelineTokenizer {
        var added = AddedVocabulary()
        try added.add(addedTokens, model: model, normalizer: normalizer)
        return PipelineTokenizer(
            model: model, added: added, normalizer: normalizer, preTokenizer: preTokenizer, postProcessor: postProcessor,
            decoder: decoder)
    }

    /// The model, and all other members as values.
    private static func read(_ buffer: UnsafeBufferPointer<UInt8>, file: String) throws -> (TokenizerModel, JSONObject) {
        var reader = JSONReader(buffer, source: file)
        var components = JSONObject()
        var model: TokenizerModel?
        var key = ""
        try reader.beginObject()
        while try reader.nextKey(&key) {
            if key == "model" {
                var modelReader = ModelReader(reader, file: file)
                model = try modelReader.read()
                reader = modelReader.reader
            } else {
                components[key] = try reader.readValue()
            }
        }
        try reader.finish()
        guard let model else { throw TokenizerError("\(file) at $", "'model' is missing") }
        return (model, components)
    }
}

extension ComponentReader {
    /// An added token as `tokenizer.json` and `tokenizer_config.json` write it.
    func addedToken() throws(TokenizerError) -> AddedToken {
        let isSpecial = try bool("special", default: false)
        return AddedToken(
            content: try string("content"), singleWord: try bool("single_word", default: false),
            stripsLeft: try bool("lstrip", default: false), stripsRight: try bool("rstrip", default: false),
            isNormalized: try bool("normalized", default: !isSpecial), isSpecial: isSpecial)
    }
}

/// Reads the `model` member: vocabulary and merges without a value per entry, so that a file of 11 MB loads in a moment.
struct ModelReader {
    private(set) var reader: JSONReader
    private let file: String
    private var vocabulary: Vocabulary?
    private var pieces: [(text: [UInt8], score: Double)]?
    private var merges: MergeTable?
    private var options = JSONObject()

    init(_ reader: JSONReader, file: String) {
        self.reader = reader
        self.file = file
    }

    mutating func read() throws -> TokenizerModel {
        // Merges that come before what they need, the vocabulary and the prefix, are read at the end.
        var lateMerges: JSONReader?
        var key = ""
        try reader.beginObject()
        while try reader.nextKey(&key) {
            switch key {
            case "vocab":
                if try reader.peekKind() == .array { try readPieces() } else { try readVocabulary() }
            case "merges":
                if vocabulary != nil, options["continuing_subword_prefix"] != nil {
                    merges = try readMerges(&reader)
                } else {
                    lateMerges = reader
                    try reader.skipValue()
                }
            default:
                options[key] = try reader.readValue()
            }
        }
        if var late = lateMerges { merges = try readMerges(&late) }
        return try makeModel()
    }

    private func error(_ member: String, _ detail: String) -> TokenizerError {
        TokenizerError("\(file) at $.model.\(member)", detail)
    }

    private mutating func readVocabulary() throws {
        var result = Vocabulary(expected: 1 << 12)
        var text: [UInt8] = []
        try reader.beginObject()
        while try reader.nextKey(bytes: &text) {
            let id = try reader.readInt()
            guard 0..<Vocabulary.idLimit ~= id else {
                throw error("vocab", "id \(id) of '\(String(decoding: text, as: UTF8.self))' is out of range")
            }
            result.insert(text, id: Int32(id))
        }
        vocabulary = result
    }

    /// Unigram's list of pieces and scores.
    private mutating func readPieces() throws {
        var result: [(text: [UInt8], score: Double)] = []
        try reader.beginArray()
        while try reader.nextElement() {
            try reader.beginArray()
            var text: [UInt8] = []
            var score: Double?
            if try reader.nextElement() { try reader.appendString(to: &text) }
            if try reader.nextElement() { score = try reader.readDouble() }
            guard let score, try !reader.nextElement() else {
                throw error("vocab[\(result.count)]", "expected a piece and its score")
            }
            guard result.count < Vocabulary.idLimit else { throw error("vocab", "too many pieces") }
            result.append((text, score))
        }
        pieces = result
    }

    private func readMerges(_ reader: inout JSONReader) throws -> MergeTable {
        guard let vocabulary else { throw error("vocab", "is missing, but there are merges") }
        let prefix = options["continuing_subword_prefix"]?.stringValue?.utf8.count ?? 0
        var result = MergeTable(expected: vocabulary.count)
        var text: [UInt8] = []
        try reader.beginArray()
        while try reader.nextElement() {
            text.removeAll(keepingCapacity: true)
            var split: Int
            if try reader.peekKind() == .string {
                try reader.appendString(to: &text)
                if text.starts(with: "#version".utf8) { continue }
                split = text.firstIndex(of: 0x20) ?? 0
                guard split > 0, split < text.count - 1, text.lastIndex(of: 0x20) == split else {
                    throw error("merges[\(result.count)]", "expected two tokens with a space between")
                }
                text.remove(at: split)
            } else {
                try reader.beginArray()
                split = 0
                if try reader.nextElement() { try reader.appendString(to: &text) }
                split = text.count
                guard try reader.nextElement() else { throw error("merges[\(result.count)]", "expected two tokens") }
                try reader.appendString(to: &text)
                guard try !reader.nextElement() else { throw error("merges[\(result.count)]", "expected two tokens") }
            }
            let ids = text.withUnsafeBufferPointer { buffer in
                (
                    vocabulary.id(of: UnsafeBufferPointer(rebasing: buffer[..<split])),
                    vocabulary.id(of: UnsafeBufferPointer(rebasing: buffer[split...]))
                )
            }
            guard let first = ids.0, let second = ids.1 else {
                throw error(
                    "merges[\(result.count)]", "a token of '\(String(decoding: text, as: UTF8.self))' is not in the vocabulary")
            }
            if prefix > 0 {
                guard prefix <= text.count - split else {
                    throw error("merges[\(result.count)]", "the second token is shorter than continuing_subword_prefix")
                }
                text.removeSubrange(split..<split + prefix)
            }
            guard let merged = vocabulary.id(of: text) else {
                throw error(
                    "merges[\(result.count)]",
                    "'\(String(decoding: text, as: UTF8.self))', which it makes, is not in the vocabulary")
            }
            result.append(first, second, into: merged)
        }
        return result
    }

    private func makeModel() throws(TokenizerError) -> TokenizerModel {
        let component = ComponentReader(value: .object(options), path: "$.model", file: file)
        switch try component.string("type", default: guessedType) {
        case "BPE":
            guard let vocabulary, let merges else { throw component.error("a BPE model needs 'vocab' and 'merges'") }
            if let dropout = component["dropout"]?.value.doubleValue, dropout != 0 {
                throw error("dropout", "\(dropout) makes encoding random; set it to null")
            }
            let options = BPEModel.Options(
                unknownToken: component["unk_token"] == nil ? nil : try component.string("unk_token"),
                fuseUnknown: try component.bool("fuse_unk", default: false),
                byteFallback: try component.bool("byte_fallback", default: false),
                ignoreMerges: try component.bool("ignore_merges", default: false),
                continuingSubwordPrefix: try component.bytes("continuing_subword_prefix", default: ""),
                endOfWordSuffix: try component.bytes("end_of_word_suffix", default: ""))
            return .bpe(BPEModel(vocabulary: vocabulary, merges: merges, options: options))
        case "Unigram":
            guard let pieces else { throw component.error("a Unigram model needs 'vocab' as a list of pieces and scores") }
            let unknown = component["unk_id"] == nil ? nil : try component.int("unk_id", in: 0...max(0, pieces.count - 1))
            guard unknown == nil || !pieces.isEmpty else { throw error("vocab", "is empty") }
            return .unigram(
                UnigramModel(
                    pieces: pieces, unknownID: unknown.map { Int32($0) },
                    byteFallback: try component.bool("byte_fallback", default: false)))
        case "WordPiece":
            guard let vocabulary else { throw component.error("a WordPiece model needs 'vocab'") }
            return .wordPiece(
                WordPieceModel(
                    vocabulary: vocabulary, unknownToken: try component.string("unk_token", default: "[UNK]"),
                    continuingSubwordPrefix: try component.bytes("continuing_subword_prefix", default: "##"),
                    longestWord: try component.int("max_input_chars_per_word", default: 100, in: 0...Int(Int32.max))))
        case "WordLevel":
            guard let vocabulary else { throw component.error("a WordLevel model needs 'vocab'") }
            return .wordLevel(
                WordLevelModel(vocabulary: vocabulary, unknownToken: try component.string("unk_token", default: "<unk>")))
        case let type:
            throw component.error("unknown model type '\(type)'; expected BPE, Unigram, WordPiece or WordLevel")
        }
    }

    /// Old files lack the type; the members tell it.
    private var guessedType: String {
        if merges != nil { return "BPE" }
        if pieces != nil { return "Unigram" }
        return options["max_input_chars_per_word"] != nil ? "WordPiece" : "WordLevel"
    }
}
