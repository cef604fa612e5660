import JSON
import TestKit
import Testing
import Text

/// Every kind of tokenizer against the `tokenizers` library, on texts chosen to be nasty.
@Suite struct TokenizerGoldenTests {
    @Test(arguments: TokenizerFixture.names)
    func encodes(name: String) throws {
        let fixture = try TokenizerFixture(name)
        let texts = try TokenizerFixture.texts()
        let plain = fixture.lists("ids")
        let special = fixture.lists("idsWithSpecial")
        #expect(texts.count == plain.count && texts.count == special.count && texts.count > 40)
        for (index, text) in texts.enumerated() {
            let ids = try fixture.tokenizer.encode(text, addSpecialTokens: false)
            #expect(ids == plain[index], "\(name): \(text.debugDescription)")
            #expect(
                try fixture.tokenizer.encode(text, addSpecialTokens: true) == special[index], "\(name): \(text.debugDescription)")
        }
        #expect(fixture.tokenizer.vocabularySize == fixture.expected["vocabularySize"]?.intValue)
    }

    @Test(arguments: TokenizerFixture.names)
    func decodes(name: String) throws {
        let fixture = try TokenizerFixture(name)
        for (ids, decoded) in [("ids", "decoded"), ("randomIDs", "randomDecoded")] {
            let texts = fixture.texts(decoded)
            let skipping = fixture.texts(decoded + "Skipping")
            #expect(!texts.isEmpty)
            for (index, ids) in fixture.lists(ids).enumerated() {
                let text = fixture.tokenizer.decode(ids, skipSpecialTokens: false)
                #expect(sameCodePoints(text, texts[index]), "\(name): \(ids)")
                let skipped = fixture.tokenizer.decode(ids, skipSpecialTokens: true)
                #expect(sameCodePoints(skipped, skipping[index]), "\(name): \(ids)")
            }
        }
    }

    /// Streamed text is the decoded text, comes in whole characters and waits only while a character is incomplete.
    @Test(arguments: TokenizerFixture.names)
    func streams(name: String) throws {
        let fixture = try TokenizerFixture(name)
        for ids in fixture.lists("ids") + fixture.lists("randomIDs") {
            for skip in [false, true] {
                var stream = StreamingDetokenizer(tokenizer: fixture.tokenizer, skipSpecialTokens: skip)
                var pieces = ids.map { stream.append($0) }
                pieces.append(stream.flush())
                let whole = fixture.tokenizer.decode(ids, skipSpecialTokens: skip)
                #expect(sameCodePoints(pieces.joined(), whole), "\(name): \(ids)")
            }
        }
    }

    @Test(arguments: TokenizerFixture.names)
    func namesTokens(name: String) throws {
        let tokenizer = try TokenizerFixture(name).tokenizer
        for id in 0..<Int32(tokenizer.vocabularySize) {
            let text = try #require(tokenizer.token(id))
            #expect(tokenizer.tokenID(text) == id)
        }
        #expect(tokenizer.token(-1) == nil)
        #expect(tokenizer.token(Int32(tokenizer.vocabularySize)) == nil)
        #expect(tokenizer.tokenID("no such token") == nil)
        #expect(tokenizer.decode([-5, .max], skipSpecialTokens: false) == "")
    }
}
