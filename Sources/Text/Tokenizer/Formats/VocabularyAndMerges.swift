import JSON

/// GPT-2's pair of files, `vocab.json` and `merges.txt`, as the Qwen and GPT-2 tokenizer classes of transformers use them.
enum VocabularyAndMerges {
    static let qwenPattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    static func load(folder: String, config: TokenizerConfig) throws -> PipelineTokenizer {
        let vocabularyPath = "\(folder)/vocab.json"
        let vocabulary = try readVocabulary(vocabularyPath)
        let merges = try readMerges("\(folder)/merges.txt", vocabulary)
        let model = TokenizerModel.bpe(BPEModel(vocabulary: vocabulary, merges: merges, options: .init()))
        let isQwen = config.tokenizerClass?.hasPrefix("Qwen2") ?? false
        let spelling = PreTokenizer.byteLevel(addPrefixSpace: config.addPrefixSpace ?? false, splits: !isQwen, spells: true)
        let preTokenizer =
            isQwen
            ? PreTokenizer.sequence([
                .split(try SplitPattern(regex: qwenPattern, culprit: folder), behavior: .isolated, invert: false), spelling,
            ]) : spelling
        return PipelineTokenizer(
            model: model, added: AddedVocabulary(), normalizer: isQwen ? .unicode(.nfc) : nil, preTokenizer: preTokenizer,
            postProcessor: nil, decoder: .byteLevel)
    }

    private static func readVocabulary(_ path: String) throws -> Vocabulary {
        let result = try readFile(path).withUnsafeBufferPointer { buffer in
            Result {
                var reader = JSONReader(buffer, source: path)
                var vocabulary = Vocabulary(expected: 1 << 12)
                var text: [UInt8] = []
                try reader.beginObject()
                while try reader.nextKey(bytes: &text) {
                    let id = try reader.readInt()
                    guard 0..<Vocabulary.idLimit ~= id else { throw TokenizerError(path, "token id \(id) is out of range") }
                    vocabulary.insert(text, id: Int32(id))
                }
                try reader.finish()
                return vocabulary
            }
        }
        return try result.get()
    }

    private static func readMerges(_ path: String, _ vocabulary: Vocabulary) throws -> MergeTable {
        var merges = MergeTable(expected: vocabulary.count)
        for (number, line) in try readFile(path).split(separator: 0x0A).enumerated() {
            if line.starts(with: "#version".utf8) { continue }
            let parts = line.split(separator: 0x20, omittingEmptySubsequences: false).map { Array($0) }
            guard parts.count == 2, let first = vocabulary.id(of: parts[0]), let second = vocabulary.id(of: parts[1]),
                let merged = vocabulary.id(of: parts[0] + parts[1])
            else { throw TokenizerError("\(path):\(number + 1)", "expected two tokens of the vocabulary that merge to a third") }
            merges.append(first, second, into: merged)
        }
        return merges
    }
}
