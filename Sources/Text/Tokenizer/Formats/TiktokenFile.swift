/// A tiktoken vocabulary: lines of a token in base64 and its rank.
struct TiktokenFile {
    private let file: String
    private let vocabulary: Vocabulary
    private let merges: MergeTable

    /// The pattern of Qwen's and of Llama 3's tokenizers; the file itself names none.
    private static let llamaPattern = VocabularyAndMerges.qwenPattern.replacing(#"|\p{N}|"#, with: #"|\p{N}{1,3}|"#)

    /// Whether the bytes begin with such a line.
    static func looksLike(_ bytes: [UInt8]) -> Bool {
        let line = bytes.prefix(512).prefix { $0 != 0x0A }
        let parts = line.split(separator: 0x20)
        guard parts.count == 2, decodeBase64(parts[0]) != nil else { return false }
        return Int(String(decoding: parts[1], as: UTF8.self).filter { $0 != "\r" }) != nil
    }

    init(parsing bytes: [UInt8], file: String) throws(TokenizerError) {
        self.file = file
        var tokens: [(bytes: [UInt8], rank: Int32)] = []
        var line = 1
        var at = 0
        while at < bytes.count {
            let end = bytes[at...].firstIndex(of: 0x0A) ?? bytes.count
            let parts = bytes[at..<end].split { $0 == 0x20 || $0 == 0x0D }
            if !parts.isEmpty {
                guard parts.count == 2, let token = decodeBase64(parts[0]), !token.isEmpty,
                    let rank = Int32(String(decoding: parts[1], as: UTF8.self)), 0..<Int32(Vocabulary.idLimit) ~= rank
                else { throw TokenizerError("\(file):\(line)", "expected a token in base64 and its rank") }
                tokens.append((token, rank))
            }
            at = end + 1
            line += 1
        }
        guard !tokens.isEmpty else { throw TokenizerError(file, "is empty; expected tokens in base64 and their ranks") }
        tokens.sort { $0.rank < $1.rank }

        var raw = Vocabulary(expected: tokens.count)
        var spelled = Vocabulary(expected: tokens.count)
        var spelling: [UInt8] = []
        for token in tokens {
            raw.insert(token.bytes, id: token.rank)
            spelling.removeAll(keepingCapacity: true)
            token.bytes.withUnsafeBufferPointer { ByteLevelAlphabet.spell($0, into: &spelling) }
            spelled.insert(spelling, id: token.rank)
        }
        var table = MergeTable(expected: tokens.count * 2)
        for token in tokens where token.bytes.count > 1 {
            token.bytes.withUnsafeBufferPointer { text in
                for split in 1..<text.count {
                    if let left = raw.id(of: UnsafeBufferPointer(rebasing: text[..<split])),
                        let right = raw.id(of: UnsafeBufferPointer(rebasing: text[split...]))
                    {
                        // Whatever pair makes the token has the token's rank: the leftmost is merged first.
                        table.append(left, right, into: token.rank, sharesRank: table.idOfRank.last == token.rank)
                    }
                }
            }
        }
        vocabulary = spelled
        merges = table
    }

    /// The tokenizer with the special tokens that the configuration names.
    func makeTokenizer(_ config: TokenizerConfig) throws(TokenizerError) -> PipelineTokenizer {
        let isQwen = config.tokenizerClass?.hasPrefix("Qwen") ?? file.hasSuffix("qwen.tiktoken")
        let pattern = isQwen ? VocabularyAndMerges.qwenPattern : Self.llamaPattern
        let model = TokenizerModel.bpe(
            BPEModel(vocabulary: vocabulary, merges: merges, options: .init(ignoreMerges: true)))
        var added = AddedVocabulary()
        // Ids without a token get a placeholder, so that those after keep theirs.
        let byID = Dictionary(config.addedTokens.map { ($0.id, $0.token) }, uniquingKeysWith: { $1 })
        var specials: [AddedToken] = []
        if let last = byID.keys.max(), last >= vocabulary.idBound {
            guard last < Vocabulary.idLimit else { throw TokenizerError(file, "the added token id \(last) is out of range") }
            specials = (vocabulary.idBound...last).map { id in
                AddedToken(
                    content: byID[id]?.content ?? "<|reserved_token_\(id)|>", isNormalized: false, isSpecial: true)
            }
        } else if isQwen, byID.isEmpty {
            // Qwen's first tokenizer named its special tokens in code (tokenization_qwen.py).
            let names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + (0..<205).map { "<|extra_\($0)|>" }
            specials = names.map { AddedToken(content: $0, isNormalized: false, isSpecial: true) }
        }
        try added.add(specials, model: model, normalizer: nil)
        let split = PreTokenizer.split(try SplitPattern(regex: pattern, culprit: file), behavior: .isolated, invert: false)
        return PipelineTokenizer(
            model: model, added: added, normalizer: isQwen ? .unicode(.nfc) : nil,
            preTokenizer: .sequence([split, .byteLevel(addPrefixSpace: false, splits: false, spells: true)]),
            postProcessor: nil, decoder: .byteLevel)
    }
}
