extension Tokenizer {
    /// The bytes that each id adds to a text, for `count` ids; nil for special tokens and ids without a token.
    ///
    /// What decoding does at the very beginning of a text alone (SentencePiece drops one space) is not in them.
    /// - Throws: `TokenizerError` when the text of a token depends on its neighbours.
    package func tokenBytes(count: Int) throws(TokenizerError) -> [[UInt8]?] {
        if let tokenizer = self as? PipelineTokenizer { return try tokenizer.bytes(count: count) }
        return (0..<Int32(clamping: count)).map { id in isSpecial(id) ? nil : token(id).map { Array($0.utf8) } }
    }
}

extension PipelineTokenizer {
    fileprivate func bytes(count: Int) throws(TokenizerError) -> [[UInt8]?] {
        let steps = try stepsOfSingleTokens()
        var result: [[UInt8]?] = []
        result.reserveCapacity(count)
        for id in 0..<Int32(clamping: count) {
            guard var text = decodingText(of: id), !added.isSpecial(text: text) else {
                result.append(nil)
                continue
            }
            for step in steps { text = try Self.apply(step, to: text) }
            result.append(text)
        }
        return result
    }

    /// The steps of decoding that look at one token at a time.
    ///
    /// - Throws: `TokenizerError` when others change more than the beginning of a text.
    private func stepsOfSingleTokens() throws(TokenizerError) -> [Decoder] {
        var steps: [Decoder] = []
        var isFused = false
        for step in decoder?.steps ?? [] {
            switch step {
            case .byteLevel, .byteFallback, .replace, .metaspace: steps.append(step)
            case .fuse: isFused = true
            case .strip where isFused: break
            case .strip, .wordPiece, .bpe, .ctc, .sequence: throw dependsOnNeighbours
            }
        }
        // Without a decoder tokens are joined with spaces.
        guard decoder != nil else { throw dependsOnNeighbours }
        return steps
    }

    private static func apply(_ step: Decoder, to text: [UInt8]) throws(TokenizerError) -> [UInt8] {
        switch step {
        case .byteLevel:
            var bytes: [UInt8] = []
            text.withUnsafeBufferPointer { ByteLevelAlphabet.decode($0, into: &bytes) }
            return bytes
        case .byteFallback: return DecoderStep.fallbackByte(text).map { [$0] } ?? text
        case .replace(let pattern, let content): return try pattern.replace(in: text, with: content)
        case .metaspace(let metaspace): return text.replacing(metaspace.replacement, with: [0x20])
        case .fuse, .strip, .wordPiece, .bpe, .ctc, .sequence: return text
        }
    }

    private var dependsOnNeighbours: TokenizerError {
        TokenizerError(
            "tokenizer.json: $.decoder",
            "the text of a token depends on its neighbours, so a response cannot be held to a format; leave the format out")
    }
}
