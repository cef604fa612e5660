import JSON

extension ComponentReader {
    func normalizer() throws(TokenizerError) -> Normalizer {
        let type = try type()
        switch type {
        case "NFC", "NFD", "NFKC", "NFKD":
            guard let form = NormalizationForm(rawValue: type) else { throw error("unknown normalizer '\(type)'") }
            return .unicode(form)
        case "Lowercase": return .lowercase
        case "Strip":
            return .strip(left: try bool("strip_left", default: true), right: try bool("strip_right", default: true))
        case "StripAccents": return .stripAccents
        case "Replace": return .replace(try pattern("pattern"), try bytes("content"))
        case "Prepend": return .prepend(try bytes("prepend"))
        case "Nmt": return .nmt
        case "ByteLevel": return .byteLevel
        case "Precompiled":
            guard let member = self["precompiled_charsmap"] else { return .sequence([]) }
            guard let text = member.value.stringValue, let blob = decodeBase64(Array(text.utf8)) else {
                throw member.error("expected a character map in base64")
            }
            return .precompiled(try PrecompiledCharsMap(blob, culprit: member.culprit))
        case "BertNormalizer":
            let lowercases = try bool("lowercase", default: true)
            return .bert(
                BertNormalizer(
                    cleansText: try bool("clean_text", default: true),
                    spacesChinese: try bool("handle_chinese_chars", default: true),
                    stripsAccents: try bool("strip_accents", default: lowercases), lowercases: lowercases))
        case "Sequence":
            var steps: [Normalizer] = []
            for step in try elements("normalizers") { steps.append(try step.normalizer()) }
            return .sequence(steps)
        default: throw error("unknown normalizer '\(type)'")
        }
    }

    func preTokenizer() throws(TokenizerError) -> PreTokenizer {
        let type = try type()
        switch type {
        case "ByteLevel":
            return .byteLevel(
                addPrefixSpace: try bool("add_prefix_space", default: true), splits: try bool("use_regex", default: true),
                spells: true)
        case "Split":
            return .split(try pattern("pattern"), behavior: try behavior(), invert: try bool("invert", default: false))
        case "Metaspace": return .metaspace(try metaspace())
        case "Whitespace":
            let words = try SplitPattern(regex: #"[[:rustword:]]+|[^[:rustword:]\s]+"#, culprit: culprit)
            return .split(words, behavior: .removed, invert: true)
        case "WhitespaceSplit": return .split(.scalars(.whitespace), behavior: .removed, invert: false)
        case "Digits":
            let individual = try bool("individual_digits", default: false)
            return .split(.scalars(.numeric), behavior: individual ? .isolated : .contiguous, invert: false)
        case "Punctuation":
            return .split(.scalars(.punctuation), behavior: try behavior(default: .isolated), invert: false)
        case "BertPreTokenizer":
            return .sequence([
                .split(.scalars(.whitespace), behavior: .removed, invert: false),
                .split(.scalars(.punctuation), behavior: .isolated, invert: false),
            ])
        case "CharDelimiterSplit":
            return .split(.scalars(ScalarSet(try scalar("delimiter"))), behavior: .removed, invert: false)
        case "UnicodeScripts": return .unicodeScripts
        case "FixedLength": return .fixedLength(try int("length", default: 5, in: 1...1_000_000))
        case "Sequence":
            var steps: [PreTokenizer] = []
            for step in try elements("pretokenizers") { steps.append(try step.preTokenizer()) }
            return .sequence(steps)
        default: throw error("unknown pre-tokenizer '\(type)'")
        }
    }

    func decoder() throws(TokenizerError) -> Decoder {
        let type = try type()
        switch type {
        case "ByteLevel": return .byteLevel
        case "ByteFallback": return .byteFallback
        case "Fuse": return .fuse
        case "Strip":
            return .strip(
                content: Array(String(try scalar("content")).utf8), start: try int("start", default: 0, in: 0...1_000_000),
                stop: try int("stop", default: 0, in: 0...1_000_000))
        case "Replace": return .replace(try pattern("pattern"), try bytes("content"))
        case "Metaspace": return .metaspace(try metaspace())
        case "WordPiece":
            return .wordPiece(prefix: try bytes("prefix", default: "##"), cleansUp: try bool("cleanup", default: true))
        case "BPEDecoder": return .bpe(suffix: try bytes("suffix", default: "</w>"))
        case "CTC":
            return .ctc(
                padToken: try bytes("pad_token", default: "<pad>"),
                wordDelimiter: try bytes("word_delimiter_token", default: "|"), cleansUp: try bool("cleanup", default: true))
        case "Sequence":
            var steps: [Decoder] = []
            for step in try elements("decoders") { steps.append(try step.decoder()) }
            return .sequence(steps)
        default: throw error("unknown decoder '\(type)'")
        }
    }

    func postProcessor() throws(TokenizerError) -> PostProcessor {
        let type = try type()
        switch type {
        case "ByteLevel": return .none
        case "BertProcessing", "RobertaProcessing":
            return .template([.tokens([try tokenAndID("cls")]), .text, .tokens([try tokenAndID("sep")])])
        case "TemplateProcessing":
            var items: [PostProcessor.Item] = []
            for item in try elements("single") {
                if item["Sequence"] != nil {
                    items.append(.text)
                    continue
                }
                let name = try item.member("SpecialToken").string("id")
                let ids = try member("special_tokens").member(name).elements("ids")
                items.append(
                    .tokens(
                        try ids.map { (id) throws(TokenizerError) in
                            guard let number = id.value.intValue, let id32 = Int32(exactly: number), id32 >= 0 else {
                                throw id.error("expected a token id")
                            }
                            return id32
                        }))
            }
            return .template(items)
        case "Sequence":
            var steps: [PostProcessor] = []
            for step in try elements("processors") { steps.append(try step.postProcessor()) }
            return .sequence(steps)
        default: throw error("unknown post-processor '\(type)'")
        }
    }

    /// A pair `["<s>", 0]`.
    private func tokenAndID(_ key: String) throws(TokenizerError) -> Int32 {
        let member = try member(key)
        guard let id = member.value[1]?.intValue, let id32 = Int32(exactly: id), id32 >= 0 else {
            throw member.error("expected a token and its id")
        }
        return id32
    }

    private func metaspace() throws(TokenizerError) -> Metaspace {
        let name = try string("prepend_scheme", default: "always")
        guard var scheme = Metaspace.PrependScheme(rawValue: name) else {
            throw error("unknown prepend_scheme '\(name)'; expected always, first or never")
        }
        if try !bool("add_prefix_space", default: true) {
            // Files from before prepend_scheme existed; the library refuses a contradiction.
            guard self["prepend_scheme"] == nil || scheme == .never else {
                throw error("add_prefix_space does not match prepend_scheme")
            }
            scheme = .never
        }
        return Metaspace(
            replacement: Array(String(try scalar("replacement")).utf8), prependScheme: scheme,
            splits: try bool("split", default: true))
    }

    private func behavior(default fallback: SplitBehavior? = nil) throws(TokenizerError) -> SplitBehavior {
        let name = try string("behavior", default: fallback?.rawValue)
        guard let behavior = SplitBehavior(rawValue: name) else { throw error("unknown behavior '\(name)'") }
        return behavior
    }

    private func scalar(_ key: String) throws(TokenizerError) -> Unicode.Scalar {
        let text = try string(key)
        guard text.unicodeScalars.count == 1, let scalar = text.unicodeScalars.first else {
            throw error("'\(key)' must be one character")
        }
        return scalar
    }
}

/// Bytes from base64 with or without padding; nil when malformed.
func decodeBase64(_ text: some Sequence<UInt8>) -> [UInt8]? {
    var output: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    var padding = 0
    for byte in text {
        let value: UInt32
        switch byte {
        case 0x41...0x5A: value = UInt32(byte) - 0x41
        case 0x61...0x7A: value = UInt32(byte) - 0x61 + 26
        case 0x30...0x39: value = UInt32(byte) - 0x30 + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        case UInt8(ascii: "="):
            padding += 1
            continue
        case 0x0A, 0x0D: continue
        default: return nil
        }
        guard padding == 0 else { return nil }
        bits = bits << 6 | value
        count += 1
        if count % 4 == 0 {
            output.append(UInt8(truncatingIfNeeded: bits >> 16))
            output.append(UInt8(truncatingIfNeeded: bits >> 8))
            output.append(UInt8(truncatingIfNeeded: bits))
        }
    }
    switch count % 4 {
    case 2: output.append(UInt8(truncatingIfNeeded: bits >> 4))
    case 3:
        output.append(UInt8(truncatingIfNeeded: bits >> 10))
        output.append(UInt8(truncatingIfNeeded: bits >> 2))
    case 1: return nil
    default: break
    }
    return padding <= 2 ? output : nil
}
