/// A raw SentencePiece model.
struct SentencePieceModel {
    private let file: String

    init(parsing bytes: [UInt8], file: String) throws(TokenizerError) { self.file = file }

    func makeTokenizer() throws(TokenizerError) -> PipelineTokenizer {
        throw TokenizerError(file, "raw SentencePiece models are not read yet; convert to tokenizer.json")
    }
}

/// A tiktoken file.
struct TiktokenFile {
    private let file: String

    static func looksLike(_ bytes: [UInt8]) -> Bool { false }

    init(parsing bytes: [UInt8], file: String) throws(TokenizerError) { self.file = file }

    func makeTokenizer(_ config: TokenizerConfig) throws(TokenizerError) -> PipelineTokenizer {
        throw TokenizerError(file, "tiktoken files are not read yet; convert to tokenizer.json")
    }
}
