import JSON
import TestKit
import Testing
import Text

/// Normalizers, pre-tokenizers, split patterns and decoders one by one, against the `tokenizers` library.
@Suite struct TokenizerComponentTests {
    /// Each is seen through a model with a token for every piece that the library gives.
    @Test func cutsTextIntoTheSamePieces() throws {
        let texts = try TokenizerFixture.texts()
        let components = try #require(try Fixtures.json("tokenizers/components.json").arrayValue)
        #expect(components.count > 75)
        for component in components {
            let name = component["name"]?.stringValue ?? "?"
            let expected = (component["pieces"]?.arrayValue ?? []).map { TokenizerFixture.strings($0) }
            var vocabulary = JSONObject()
            for piece in expected.joined() where vocabulary[piece] == nil { vocabulary[piece] = .integer(vocabulary.count) }
            vocabulary["<none>"] = .integer(vocabulary.count)
            let document: JSONValue = [
                "version": "1.0", "normalizer": component["normalizer"] ?? nil,
                "pre_tokenizer": component["pre_tokenizer"] ?? nil,
                "model": ["type": "WordLevel", "unk_token": "<none>", "vocab": .object(vocabulary)],
            ]
            let tokenizer = try TokenizerLoader.load(tokenizerJSON: Array(document.serialized().utf8), source: name)
            for (index, text) in texts.enumerated() {
                let pieces = try tokenizer.encode(text, addSpecialTokens: false).map { tokenizer.token($0) ?? "?" }
                #expect(pieces.elementsEqual(expected[index], by: sameCodePoints), "\(name): \(text.debugDescription)")
            }
        }
    }

    @Test func decodesTokenLists() throws {
        let cases = try #require(try Fixtures.json("tokenizers/decoders.json").arrayValue)
        #expect(cases.count > 20)
        for decoder in cases {
            let name = decoder["name"]?.stringValue ?? "?"
            let lists = (decoder["tokens"]?.arrayValue ?? []).map { TokenizerFixture.strings($0) }
            var vocabulary = JSONObject()
            for token in lists.joined() where vocabulary[token] == nil { vocabulary[token] = .integer(vocabulary.count) }
            let document: JSONValue = [
                "version": "1.0", "decoder": decoder["decoder"] ?? nil,
                "model": ["type": "WordLevel", "unk_token": "<unk>", "vocab": .object(vocabulary)],
            ]
            let tokenizer = try TokenizerLoader.load(tokenizerJSON: Array(document.serialized().utf8), source: name)
            for (index, tokens) in lists.enumerated() {
                guard let expected = decoder["texts"]?[index]?.stringValue else { continue }
                let ids = tokens.compactMap { tokenizer.tokenID($0) }
                #expect(ids.count == tokens.count)
                let text = tokenizer.decode(ids, skipSpecialTokens: false)
                #expect(sameCodePoints(text, expected), "\(name): \(tokens) gave \(text.debugDescription)")
                var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: false)
                let streamed = ids.map { stream.append($0) }.joined() + stream.flush()
                #expect(sameCodePoints(streamed, expected), "\(name), streamed: \(tokens)")
            }
        }
    }
}
