import JSON
import TestKit
import Testing
import Text

/// Damaged files give a typed error or a tokenizer that works; nothing crashes or hangs.
@Suite struct TokenizerFuzzTests {
    /// Small documents that together use every component.
    private static func seeds() throws -> [[UInt8]] {
        var models: [JSONValue] = [
            [
                "type": "BPE", "vocab": ["a": 0, "b": 1, "ab": 2, "<unk>": 3, "▁": 4, "<0x41>": 5], "merges": [["a", "b"]],
                "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "dropout": nil,
                "continuing_subword_prefix": nil, "end_of_word_suffix": "",
            ],
            ["type": "BPE", "vocab": ["a": 0, "##b": 1, "ab": 2], "merges": ["a ##b"], "continuing_subword_prefix": "##"],
            ["type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5], ["▁a", -2.5]], "unk_id": 0, "byte_fallback": false],
            [
                "type": "WordPiece", "vocab": ["[UNK]": 0, "a": 1, "##b": 2], "unk_token": "[UNK]",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            ],
            ["type": "WordLevel", "vocab": ["a": 0, "<unk>": 1], "unk_token": "<unk>"],
        ]
        let components = try Fixtures.json("tokenizers/components.json").arrayValue ?? []
        let decoders = try Fixtures.json("tokenizers/decoders.json").arrayValue ?? []
        let count = max(components.count, decoders.count)
        models = (0..<count).map { models[$0 % models.count] }
        return models.enumerated().map { index, model in
            let document: JSONValue = [
                "version": "1.0", "truncation": nil, "padding": nil,
                "added_tokens": [
                    [
                        "id": 6, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false,
                        "special": true,
                    ]
                ],
                "normalizer": components[index % components.count]["normalizer"] ?? nil,
                "pre_tokenizer": components[index % components.count]["pre_tokenizer"] ?? nil,
                "post_processor": [
                    "type": "TemplateProcessing",
                    "single": [["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]]],
                    "special_tokens": ["<s>": ["id": "<s>", "ids": [6], "tokens": ["<s>"]]],
                ],
                "decoder": decoders[index % decoders.count]["decoder"] ?? nil, "model": model,
            ]
            return Array(document.serialized().utf8)
        }
    }

    private static let replacements: [JSONValue] = [
        nil, true, -1, 0, 1, 4_294_967_296, 1e300, "", "a", "\u{0}", "(", "Sequence", "ByteLevel", [], [[]], [nil], [:],
        ["type": "Fuse"],
        ["String": ""], ["Regex": "(a|b*)*"], ["a", "a"],
    ]

    /// `value` with one value somewhere inside it replaced, or one member left out.
    private static func replacingOneValue(of value: JSONValue, _ random: inout SeededGenerator) -> JSONValue {
        switch value {
        case .array(var elements) where !elements.isEmpty && Int.random(in: 0..<5, using: &random) > 0:
            let at = Int.random(in: 0..<elements.count, using: &random)
            elements[at] = replacingOneValue(of: elements[at], &random)
            return .array(elements)
        case .object(var members) where members.count > 0 && Int.random(in: 0..<6, using: &random) > 0:
            let key = members.keys[Int.random(in: 0..<members.count, using: &random)]
            let isLeftOut = Int.random(in: 0..<8, using: &random) == 0
            members[key] = isLeftOut ? nil : members[key].map { replacingOneValue(of: $0, &random) }
            return .object(members)
        default:
            return replacements[Int.random(in: 0..<replacements.count, using: &random)]
        }
    }

    @Test func survivesTenThousandMutatedTokenizerFiles() throws {
        let seeds = try Self.seeds()
        for seed in seeds { _ = try TokenizerLoader.load(tokenizerJSON: seed, source: "seed") }
        var mutator = Mutator(
            seed: 17,
            dictionary: [
                "null", "true", "-1", "0", "99999999999", "1e300", "\"\"", "[]", "{}", "\"Sequence\"", "\"ByteLevel\"",
                "\"Split\"",
                "\"type\":", "(?i:", "\\\\p{", "+*", "{1,999}", "[^", "(?=", "\\u0000", "\\ud800", "\"Regex\"", "\"BPE\"",
                "\"Unigram\"",
            ])
        let text = "ab <s>a b  ab\u{301}c 12 中\n\u{1F600}<unk>"
        let trees = try seeds.map { try JSONValue(parsing: $0, source: "seed") }
        var random = SeededGenerator(seed: 20)
        var loaded = 0
        for round in 0..<10_000 {
            // Half of them are damaged as bytes, half stay JSON with one value replaced.
            let bytes =
                round % 2 == 0
                ? mutator.mutate(seeds[round / 2 % seeds.count])
                : Array(Self.replacingOneValue(of: trees[round / 2 % trees.count], &random).serialized().utf8)
            do {
                let tokenizer = try TokenizerLoader.load(tokenizerJSON: bytes, source: "fuzz")
                loaded += 1
                let ids = try tokenizer.encode(text, addSpecialTokens: true)
                let decoded = tokenizer.decode(ids, skipSpecialTokens: true)
                var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
                #expect(sameCodePoints(ids.map { stream.append($0) }.joined() + stream.flush(), decoded))
            } catch {
                #expect(error is JSONError || error is TokenizerError, "\(type(of: error)): \(error)")
            }
        }
        #expect((1_000...9_000).contains(loaded))
    }

    @Test(arguments: ["spm-bpe", "spm-unigram"])
    func survivesTenThousandMutatedSentencePieceModels(name: String) throws {
        let seed = try Fixtures.bytes("tokenizers/\(name)/tokenizer.model")
        _ = try TokenizerLoader.load(sentencePiece: seed, source: "seed")
        var mutator = Mutator(seed: 18, dictionary: ["\u{0}", "\u{7F}", "\u{A}\u{3}", "▁", "<0x00>", "\u{12}\u{7F}"])
        var loaded = 0
        for _ in 0..<5_000 {
            let bytes = mutator.mutate(seed)
            do {
                let tokenizer = try TokenizerLoader.load(sentencePiece: bytes, source: "fuzz")
                loaded += 1
                let ids = try tokenizer.encode("Hello  the world 中 <s>", addSpecialTokens: true)
                _ = tokenizer.decode(ids, skipSpecialTokens: false)
            } catch {
                #expect(error is TokenizerError, "\(type(of: error)): \(error)")
            }
        }
        #expect((100...4_900).contains(loaded))
    }

    @Test func survivesMutatedTiktokenFiles() throws {
        let seed = Array(
            (0..<256).map { "\(["AA", "AQ", "Ag", "YQ", "Yg", "YWI"][$0 % 6])== \($0)" }.joined(separator: "\n").utf8)
        var mutator = Mutator(seed: 19, dictionary: ["=", " ", "-1", "99999999999", "\n\n", "YWI= 7\n"])
        for _ in 0..<2_000 {
            do {
                let tokenizer = try TokenizerLoader.load(tiktoken: mutator.mutate(seed), source: "fuzz")
                _ = try tokenizer.encode("ab ba", addSpecialTokens: false)
            } catch {
                #expect(error is TokenizerError, "\(type(of: error)): \(error)")
            }
        }
    }

    @Test(arguments: [
        ("{}", "'model' is missing"), (#"{"model": {"type": "BPE"}}"#, "needs 'vocab' and 'merges'"),
        (#"{"version": "2.0", "model": {"type": "WordLevel", "vocab": {}}}"#, "unknown tokenizer version"),
        (#"{"model": {"type": "Nope", "vocab": {}}}"#, "unknown model type 'Nope'"),
        (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}"#, "$.model.merges[0]"),
        (#"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#, "out of range"),
        (#"{"model": {"type": "Unigram", "vocab": [["a"]]}}"#, "vocab[0]"),
        (#"{"normalizer": {"type": "What"}, "model": {"type": "WordLevel", "vocab": {}}}"#, "$.normalizer"),
        (
            #"{"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "X"}]}, "model": {"vocab": {}}}"#,
            "$.decoder.decoders[1]"
        ),
        (
            #"{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}, "model": {"vocab": {}}}"#,
            "regular expression"
        ),
    ])
    func namesWhatIsWrong(document: String, message: String) {
        let error = #expect(throws: TokenizerError.self) {
            try TokenizerLoader.load(tokenizerJSON: Array(document.utf8), source: "tokenizer.json")
        }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("tokenizer.json") == true)
    }

    @Test func namesAFolderWithoutTokenizer() {
        let error = #expect(throws: TokenizerError.self) { try TokenizerLoader.load(folder: Fixtures.root) }
        #expect(error?.description.contains("has no tokenizer") == true)
        #expect(throws: TokenizerError.self) { try TokenizerLoader.load(folder: "/nonexistent/model") }
    }
}
