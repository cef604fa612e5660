/// How a checkpoint's author wants it to generate: `generation_config.json` over transformers' global defaults
/// (transformers 5.17.0, `GenerationConfig._get_default_generation_params`).
package struct GenerationDefaults: Sendable, Equatable {
    package var doSample = false
    package var temperature: Float = 1
    package var topK = 50
    package var topP: Float = 1
    package var minP: Float?
    package var repetitionPenalty: Float = 1
    package var maxNewTokens: Int?
    /// Tokens that end a response.
    package var eosTokenIDs: [Int32] = []
    package var bosTokenID: Int32?
    package var padTokenID: Int32?

    package init() {}

    /// - Parameter text: the configuration of the language model inside a larger one (`text_config`, `llm_config`), where the token
    ///   ids may be when neither generation_config.json nor the root of config.json has them.
    package init(_ checkpoint: Checkpoint, text: ConfigReader? = nil) throws {
        if let file = checkpoint.generationConfig {
            doSample = try file.bool("do_sample", default: doSample)
            temperature = try file.float("temperature", default: temperature)
            topK = try file.int("top_k", default: topK)
            topP = try file.float("top_p", default: topP)
            minP = try file.doubleIfPresent("min_p").map { Float($0) }
            repetitionPenalty = try file.float("repetition_penalty", default: repetitionPenalty)
            maxNewTokens = try file.intIfPresent("max_new_tokens")
        }
        let readers = [checkpoint.generationConfig, checkpoint.config, text].compactMap { $0 }
        func firstIDs(_ key: String) throws -> [Int32] {
            for reader in readers {
                let ids = try reader.intOrInts(key)
                guard !ids.isEmpty else { continue }
                return try ids.map {
                    guard let id = Int32(exactly: $0) else { throw reader.invalid(key, "holds \($0), which is no token id") }
                    return id
                }
            }
            return []
        }
        eosTokenIDs = try firstIDs("eos_token_id")
        bosTokenID = try firstIDs("bos_token_id").first
        padTokenID = try firstIDs("pad_token_id").first
    }
}
