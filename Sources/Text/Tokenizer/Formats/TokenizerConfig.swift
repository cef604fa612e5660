import JSON

/// What `tokenizer_config.json` and its older companions say beside the vocabulary, read as transformers 5.17.0 does
/// (tokenization_utils_base.py, `_from_pretrained`).
struct TokenizerConfig {
    /// Special tokens that have a role, `bos_token` and so on, in the order of transformers.
    private(set) var named: [(role: String, token: AddedToken)] = []
    /// Special tokens without a role.
    private(set) var extra: [AddedToken] = []
    /// Tokens with the ids they are meant to have, by id.
    private(set) var addedTokens: [(id: Int, token: AddedToken)] = []
    private(set) var tokenizerClass: String?
    private(set) var addBOS: Bool?
    private(set) var addEOS: Bool?
    private(set) var addPrefixSpace: Bool?
    /// Llama's flag for a leading space in front of every stretch of text instead of the first only.
    private(set) var isLegacy = false
    private(set) var cleansUpSpaces = false
    private(set) var cleansUpEvenBPE = false

    private static let roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]

    /// No configuration.
    init() {}

    /// - Parameter folder: a checkpoint folder; a file that is missing there says nothing.
    init(folder: String) throws {
        var config = try Self.object("\(folder)/tokenizer_config.json")
        let file = "\(folder)/tokenizer_config.json"
        let hasDecoder = config["added_tokens_decoder"] != nil
        // Only what stands here marks the tokens of added_tokens.json as special; the list in special_tokens_map.json
        // is read too late for that.
        let marksExtra = config["extra_special_tokens"] != nil || config["additional_special_tokens"] != nil
        if !hasDecoder {
            // Before added_tokens_decoder existed, two other files held this.
            for (key, value) in try Self.object("\(folder)/special_tokens_map.json") { config[key] = value }
            for (content, id) in try Self.object("\(folder)/added_tokens.json") {
                guard let id = id.intValue else {
                    throw TokenizerError("\(folder)/added_tokens.json at $.\(content)", "expected a token id")
                }
                addedTokens.append((id, AddedToken(content: content)))
            }
        }
        let root = ComponentReader(value: .object(config), path: "$", file: file)
        tokenizerClass = try root["tokenizer_class"] == nil ? nil : root.string("tokenizer_class")
        addBOS = try root["add_bos_token"] == nil ? nil : root.bool("add_bos_token", default: false)
        addEOS = try root["add_eos_token"] == nil ? nil : root.bool("add_eos_token", default: false)
        addPrefixSpace = try root["add_prefix_space"] == nil ? nil : root.bool("add_prefix_space", default: false)
        isLegacy = try root.bool("legacy", default: false)
        cleansUpSpaces = try root.bool("clean_up_tokenization_spaces", default: false)
        cleansUpEvenBPE = try root.bool(
            "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", default: false)
        if let decoder = root["added_tokens_decoder"] {
            for (key, value) in decoder.value.objectValue ?? JSONObject() {
                let entry = ComponentReader(value: value, path: "\(decoder.path).\(key)", file: file)
                guard let id = Int(key), id >= 0 else { throw entry.error("the key is not a token id") }
                addedTokens.append((id, try entry.addedToken()))
            }
        }
        addedTokens.sort { $0.id < $1.id }
        try readNames(root)
        if !hasDecoder {
            let specials = Set((named.map(\.token) + (marksExtra ? extra : [])).map(\.content))
            for index in addedTokens.indices where specials.contains(addedTokens[index].token.content) {
                addedTokens[index].token.isSpecial = true
                addedTokens[index].token.isNormalized = false
            }
        }
    }

    private mutating func readNames(_ root: ComponentReader) throws(TokenizerError) {
        let known = Dictionary(addedTokens.map { ($0.token.content, $0.token) }, uniquingKeysWith: { $1 })
        func token(_ reader: ComponentReader) throws(TokenizerError) -> AddedToken {
            let token: AddedToken
            if let content = reader.value.stringValue {
                token = AddedToken(content: content, isNormalized: false, isSpecial: true)
            } else {
                var described = try reader.addedToken()
                described.isSpecial = true
                token = described
            }
            return known[token.content] ?? token
        }
        for role in Self.roles {
            if let reader = root[role] { named.append((role, try token(reader))) }
        }
        // Other keys of this form, such as image_token, name tokens of one model.
        for (key, value) in root.value.objectValue ?? JSONObject() where key.hasSuffix("_token") && !Self.roles.contains(key) {
            if value.stringValue != nil, let reader = root[key] { named.append((key, try token(reader))) }
        }
        for key in ["extra_special_tokens", "additional_special_tokens"] {
            guard let list = root[key] else { continue }
            if list.value.arrayValue != nil {
                for reader in try root.elements(key) { extra.append(try token(reader)) }
            } else {
                for (name, value) in list.value.objectValue ?? JSONObject() {
                    let reader = ComponentReader(value: value, path: "\(list.path).\(name)", file: list.file)
                    named.append((name, try token(reader)))
                }
            }
            break
        }
    }

    func content(_ role: String) -> String? { named.first { $0.role == role }?.token.content }

    /// Adds to `added` what the configuration names and the tokenizer lacks, or holds with other flags.
    /// - Parameter keepsIDs: give the tokens of `added_tokens_decoder` the ids it writes, also where the vocabulary has another
    ///   name there (InternLM2's chat tokens stand in places its SentencePiece file calls unused).
    func apply(
        to added: inout AddedVocabulary, model: TokenizerModel, normalizer: Normalizer?, keepsIDs: Bool
    ) throws(TokenizerError) {
        let present = added.tokens.values
        var new = addedTokens.map(\.token).filter { token in !present.contains(token) }
        var contents = Set(present.map(\.content)).union(new.map(\.content))
        for token in named.map(\.token) + extra where contents.insert(token.content).inserted { new.append(token) }
        let roles = Set(named.map(\.token.content))
        for index in new.indices where roles.contains(new[index].content) { new[index].isSpecial = true }
        let ids = addedTokens.compactMap { entry in Int32(exactly: entry.id).map { (entry.token.content, $0) } }
        try added.add(
            new, model: model, normalizer: normalizer, ids: keepsIDs ? Dictionary(ids, uniquingKeysWith: { $1 }) : [:])
    }

    var specialTokenNames: PipelineTokenizer.SpecialTokenNames {
        .init(bos: content("bos_token"), eos: content("eos_token"), pad: content("pad_token"), unk: content("unk_token"))
    }

    private static func object(_ path: String) throws -> JSONObject {
        guard fileExists(path) else { return JSONObject() }
        guard let object = try JSONValue(contentsOf: path).objectValue else {
            throw TokenizerError(path, "expected a JSON object")
        }
        return object
    }
}
