/// The model of a `tokenizer.json`: turns one word into token ids.
enum TokenizerModel: Sendable {
    case bpe(BPEModel)
    case unigram(UnigramModel)
    case wordPiece(WordPieceModel)
    case wordLevel(WordLevelModel)

    var vocabulary: Vocabulary {
        switch self {
        case .bpe(let model): model.vocabulary
        case .unigram(let model): model.vocabulary
        case .wordPiece(let model): model.vocabulary
        case .wordLevel(let model): model.vocabulary
        }
    }

    /// Number of tokens as the library counts them.
    var count: Int {
        if case .unigram(let model) = self { model.scores.count } else { vocabulary.count }
    }

    func id(of text: [UInt8]) -> Int32? { vocabulary.id(of: text) }

    func encode(
        _ word: UnsafeBufferPointer<UInt8>, raw: Bool, scratch: inout BPEScratch, into output: inout [Int32]
    ) throws(TokenizerError) {
        switch self {
        case .bpe(let model): try model.encode(word, raw: raw, scratch: &scratch, into: &output)
        case .unigram(let model): try model.encode(word, into: &output)
        case .wordPiece(let model): try model.encode(word, into: &output)
        case .wordLevel(let model): try model.encode(word, into: &output)
        }
    }
}
