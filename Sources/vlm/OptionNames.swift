import Engine

/// The library's names of options, in the command's spelling.
enum OptionNames {
    /// Longer names first, where one is part of another.
    private static let flags: [(name: String, flag: String)] = [
        ("VisionConfig.maxBatchSize", "--vision-max-batch-size"), ("VisionConfig.maxTiles", "--max-tiles"),
        ("VisionConfig.cacheBytes", "--vision-cache-bytes"),
        ("VisionConfig.minPixels", "--min-pixels"), ("VisionConfig.maxPixels", "--max-pixels"), ("sessionLen", "--session-len"),
        ("maxBatchSize", "--max-batch-size"), ("cacheMaxEntryCount", "--cache-max-entry-count"),
        ("cacheBlockSeqLen", "--cache-block-seq-len"), ("maxPrefillTokenNum", "--max-prefill-token-num"),
        ("maxNewTokens", "--max-new-tokens"), ("minNewTokens", "--min-new-tokens"), ("maxTiles", "--max-tiles"),
        ("minPixels", "--min-pixels"),
        ("maxPixels", "--max-pixels"), ("topP", "--top-p"), ("topK", "--top-k"),
        ("minP", "--min-p"), ("repetitionPenalty", "--repetition-penalty"), ("ignoreEOS", "--ignore-eos"),
        ("responseFormat", "--json, --json-schema, --regex or --grammar"), ("stopWords", "--stop"),
    ]

    /// What an error says, with the names its reader can type.
    static func translate(_ error: any Error) -> String {
        guard let error = error as? EngineError else { return "\(error)" }
        return flags.reduce(error.detail) { $0.replacing($1.name, with: $1.flag) }
    }
}
