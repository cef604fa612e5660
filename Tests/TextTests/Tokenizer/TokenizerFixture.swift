import JSON
import TestKit
import Text

/// A tokenizer of `Tests/Fixtures/tokenizers` with what the `tokenizers` library gives for it.
struct TokenizerFixture {
    let tokenizer: any Tokenizer
    let expected: JSONValue

    static let names = [
        "qwen2", "roberta", "llama3", "deepseek", "o200k", "bytelevel-normalizer", "falcon", "llama2", "metaspace-first", "gemma",
        "clip", "t5", "unigram-bytes", "bert", "wordlevel", "ctc",
    ]

    init(tokenizer: any Tokenizer, expected: JSONValue) {
        self.tokenizer = tokenizer
        self.expected = expected
    }

    init(_ name: String) throws {
        tokenizer = try TokenizerLoader.load(folder: Fixtures.path("tokenizers/\(name)"))
        expected = try Fixtures.json("tokenizers/\(name)/expected.json")
    }

    static func texts() throws -> [String] { strings(try Fixtures.json("tokenizers/texts.json")) }

    func lists(_ key: String) -> [[Int32]] {
        (expected[key]?.arrayValue ?? []).map { ($0.arrayValue ?? []).map { Int32($0.intValue ?? -1) } }
    }

    func texts(_ key: String) -> [String] { Self.strings(expected[key] ?? nil) }

    static func strings(_ value: JSONValue) -> [String] { (value.arrayValue ?? []).map { $0.stringValue ?? "?" } }
}

/// What two texts must be for a tokenizer: the same code points, not canonically equivalent ones.
func sameCodePoints(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
