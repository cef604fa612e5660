import Testing
import Text

/// The bytes of single tokens: put together they are the decoded text, except what the beginning of a text drops.
@Suite struct TokenBytesTests {
    @Test(arguments: TokenizerFixture.names)
    func makeTheText(name: String) throws {
        let fixture = try TokenizerFixture(name)
        let count = fixture.tokenizer.vocabularySize + 7
        // What these decoders make of a token depends on the ones around it.
        guard !["clip", "bert", "wordlevel", "ctc"].contains(name) else {
            let error = #expect(throws: TokenizerError.self) { try fixture.tokenizer.tokenBytes(count: count) }
            #expect(error?.detail.contains("neighbours") ?? false)
            return
        }
        let tokenBytes = try fixture.tokenizer.tokenBytes(count: count)
        #expect(tokenBytes.count == count)
        #expect(tokenBytes.suffix(7).allSatisfy { $0 == nil })
        for id in 0..<Int32(fixture.tokenizer.vocabularySize) where fixture.tokenizer.isSpecial(id) {
            #expect(tokenBytes[Int(id)] == nil)
        }
        for ids in fixture.lists("ids") + fixture.lists("randomIDs") {
            let text = fixture.tokenizer.decode(ids, skipSpecialTokens: true)
            let bytes = ids.flatMap { tokenBytes[Int($0)] ?? [] }
            // Incomplete characters show as replacement characters, one or several, so whole texts alone are compared.
            guard let whole = String(validating: bytes, as: UTF8.self) else { continue }
            #expect(sameCodePoints(text, whole) || sameCodePoints(" " + text, whole), "\(name): \(ids)")
        }
    }
}
