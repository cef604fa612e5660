/// Byte-pair encoding as the `tokenizers` library does it (models/bpe): characters become symbols, and the adjacent pair
/// of lowest rank, leftmost first, is merged until none is left.
struct BPEModel: Sendable {
    struct Options: Sendable {
        var unknownToken: String?
        var fuseUnknown = false
        var byteFallback = false
        var ignoreMerges = false
        var continuingSubwordPrefix: [UInt8] = []
        var endOfWordSuffix: [UInt8] = []
    }

    let vocabulary: Vocabulary
    let merges: MergeTable
    let options: Options
    private let unknownID: Int32?
    /// Ids of the tokens `<0x00>` … `<0xFF>`, -1 where missing.
    private let fallbackIDs: [Int32]
    /// Ids of the 256 one-byte tokens when words are given as raw bytes instead of in the byte-level alphabet.
    private let rawByteIDs: [Int32]
    /// Whole-word lookups by raw bytes; only with `ignoreMerges`.
    private let rawVocabulary: Vocabulary?

    init(vocabulary: Vocabulary, merges: MergeTable, options: Options) {
        self.vocabulary = vocabulary
        self.merges = merges
        self.options = options
        unknownID = options.unknownToken.flatMap { vocabulary.id(of: $0) }
        fallbackIDs = byteTokenIDs(in: vocabulary)
        rawByteIDs = (0..<256).map { vocabulary.id(of: ByteLevelAlphabet.text(of: UInt8($0))) ?? -1 }
        rawVocabulary = options.ignoreMerges ? ByteLevelAlphabet.rawVocabulary(of: vocabulary) : nil
    }

    /// Whether words may be given as raw bytes: what the ByteLevel pre-tokenizer would spell out need not be spelled.
    var acceptsRawBytes: Bool {
        options.continuingSubwordPrefix.isEmpty && options.endOfWordSuffix.isEmpty && !rawByteIDs.contains(-1)
    }

    /// Appends the ids of one word.
    /// - Parameter raw: the word is raw bytes standing for their characters in the byte-level alphabet.
    func encode(
        _ word: UnsafeBufferPointer<UInt8>, raw: Bool, scratch: inout BPEScratch, into output: inout [Int32]
    ) throws(TokenizerError) {
        guard !word.isEmpty else { return }
        if raw, word.count == 1 {
            output.append(rawByteIDs[Int(word[0])])
            return
        }
        let hash = hashBytes(word)
        if scratch.cache.find(word, hash: hash, into: &output) { return }
        let start = output.count
        if options.ignoreMerges, let id = (raw ? rawVocabulary : vocabulary)?.id(of: word) {
            output.append(id)
        } else {
            scratch.symbols.removeAll(keepingCapacity: true)
            if raw {
                for byte in word { scratch.symbols.append(rawByteIDs[Int(byte)]) }
            } else {
                try appendSymbols(of: word, to: &scratch.symbols)
            }
            scratch.mergeAll(merges)
            output.append(contentsOf: scratch.symbols)
        }
        scratch.cache.insert(word, hash: hash, ids: output[start...])
    }

    /// The initial symbols: one per character, unknown ones as fallback bytes or the unknown token.
    private func appendSymbols(
        of word: UnsafeBufferPointer<UInt8>, to symbols: inout [Int32]
    ) throws(TokenizerError) {
        let decorated = !options.continuingSubwordPrefix.isEmpty || !options.endOfWordSuffix.isEmpty
        var pendingUnknown = false
        var at = 0
        var text: [UInt8] = []
        while at < word.count {
            let length = min(scalarLength(lead: word[at]), word.count - at)
            let character = UnsafeBufferPointer(rebasing: word[at..<at + length])
            let isFirst = at == 0
            at += length
            let id: Int32?
            if decorated {
                text.removeAll(keepingCapacity: true)
                if !isFirst { text += options.continuingSubwordPrefix }
                text += character
                if at == word.count { text += options.endOfWordSuffix }
                id = vocabulary.id(of: text)
            } else {
                id = vocabulary.id(of: character)
            }
            if let id {
                if pendingUnknown, let unknownID { symbols.append(unknownID) }
                pendingUnknown = false
                symbols.append(id)
                continue
            }
            if options.byteFallback {
                let bytes = decorated ? text : Array(character)
                if bytes.allSatisfy({ fallbackIDs[Int($0)] >= 0 }) {
                    for byte in bytes { symbols.append(fallbackIDs[Int(byte)]) }
                    continue
                }
            }
            guard let name = options.unknownToken else { continue }
            guard let unknownID else {
                throw TokenizerError("model.unk_token", "'\(name)' is not in the vocabulary")
            }
            if pendingUnknown, !options.fuseUnknown { symbols.append(unknownID) }
            pendingUnknown = true
        }
        if pendingUnknown, let unknownID { symbols.append(unknownID) }
    }
}

/// Ids of the byte tokens `<0x00>` … `<0xFF>`, -1 where missing.
func byteTokenIDs(in vocabulary: Vocabulary) -> [Int32] {
    let digits = Array("0123456789ABCDEF".utf8)
    return (0..<256).map { byte in
        vocabulary.id(of: Array("<0x".utf8) + [digits[byte >> 4], digits[byte & 15], UInt8(ascii: ">")]) ?? -1
    }
}
