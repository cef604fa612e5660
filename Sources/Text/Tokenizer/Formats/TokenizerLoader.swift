import JSON

/// Finds and loads the tokenizer of a checkpoint folder.
package enum TokenizerLoader {
    /// Loads `tokenizer.json`, else a SentencePiece `tokenizer.model`, else a tiktoken file, else `vocab.json` with
    /// `merges.txt`, together with what `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` add.
    /// - Throws: `TokenizerError` or `JSONError` naming the file and the place in it.
    package static func load(folder: String) throws -> any Tokenizer {
        let config = try TokenizerConfig(folder: folder)
        let json = "\(folder)/tokenizer.json"
        if fileExists(json) {
            let file = try TokenizerJSON(contentsOf: json)
            return try file.makeTokenizer().configured(by: config, addsBoundaries: false)
        }
        let spm = "\(folder)/tokenizer.model"
        if fileExists(spm) {
            let bytes = try readFile(spm)
            if TiktokenFile.looksLike(bytes) {
                return try TiktokenFile(parsing: bytes, file: spm).makeTokenizer(config)
                    .configured(by: config, addsBoundaries: true)
            }
            return try SentencePieceModel(parsing: bytes, file: spm).makeTokenizer(config)
                .configured(by: config, addsBoundaries: true)
        }
        if let tiktoken = try fileNames(in: folder).filter({ $0.hasSuffix(".tiktoken") }).sorted().first {
            let path = "\(folder)/\(tiktoken)"
            return try TiktokenFile(parsing: readFile(path), file: path).makeTokenizer(config)
                .configured(by: config, addsBoundaries: true)
        }
        if fileExists("\(folder)/vocab.json"), fileExists("\(folder)/merges.txt") {
            return try VocabularyAndMerges.load(folder: folder, config: config)
                .configured(by: config, addsBoundaries: true)
        }
        throw TokenizerError(
            folder, "has no tokenizer: expected tokenizer.json, tokenizer.model, a .tiktoken file, or vocab.json with merges.txt")
    }

    /// A tokenizer from the bytes of a `tokenizer.json` alone.
    /// - Parameter source: what to call the document in errors.
    package static func load(tokenizerJSON bytes: [UInt8], source: String) throws -> any Tokenizer {
        try TokenizerJSON(parsing: bytes, file: source).makeTokenizer()
    }

    /// A tokenizer from the bytes of a SentencePiece model alone.
    package static func load(sentencePiece bytes: [UInt8], source: String) throws -> any Tokenizer {
        try SentencePieceModel(parsing: bytes, file: source).makeTokenizer(TokenizerConfig())
    }

    /// A tokenizer from the bytes of a tiktoken file alone.
    package static func load(tiktoken bytes: [UInt8], source: String) throws -> any Tokenizer {
        try TiktokenFile(parsing: bytes, file: source).makeTokenizer(TokenizerConfig())
    }
}

extension PipelineTokenizer {
    /// This tokenizer with the tokens and names of a configuration.
    /// - Parameter addsBoundaries: take `add_bos_token`, `add_eos_token` and the ids of added tokens from the configuration; beside a
    ///   `tokenizer.json`, which decides these, transformers ignores them.
    func configured(by config: TokenizerConfig, addsBoundaries: Bool) throws(TokenizerError) -> PipelineTokenizer {
        var added = added
        try config.apply(to: &added, model: model, normalizer: normalizer, keepsIDs: addsBoundaries)
        var post = postProcessor
        var names = config.specialTokenNames
        names.bos = names.bos ?? self.names.bos
        names.eos = names.eos ?? self.names.eos
        names.pad = names.pad ?? self.names.pad
        names.unk = names.unk ?? self.names.unk
        if addsBoundaries {
            func id(_ name: String?, _ wanted: Bool?) -> [PostProcessor.Item] {
                guard wanted == true, let text = name.map({ Array($0.utf8) }) else { return [] }
                return (added.id(of: text) ?? model.id(of: text)).map { [.tokens([$0])] } ?? []
            }
            post = .template(id(names.bos, config.addBOS) + [.text] + id(names.eos, config.addEOS))
        }
        var cleansUp = config.cleansUpSpaces
        if case .bpe = model { cleansUp = cleansUp && config.cleansUpEvenBPE }
        return PipelineTokenizer(
            model: model, added: added, normalizer: normalizer, preTokenizer: preTokenizer, postProcessor: post,
            decoder: decoder, names: names, cleansUpSpaces: cleansUp)
    }
}
