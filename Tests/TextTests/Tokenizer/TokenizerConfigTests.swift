import Foundation
import JSON
import TestKit
import Testing
import Text

/// Folders with tokenizer_config.json and its companions, against transformers' AutoTokenizer.
@Suite struct TokenizerConfigTests {
    @Test func readsConfigurationsAsTransformers() throws {
        let cases = try #require(try Fixtures.json("tokenizers/configs.json")["cases"]?.arrayValue)
        #expect(cases.count > 10)
        for expected in cases {
            let name = expected["name"]?.stringValue ?? "?"
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vlm-tokenizer-\(UUID())")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            if let base = expected["base"]?.stringValue {
                for file in ["tokenizer.json", "tokenizer.model"] {
                    guard let bytes = try? Fixtures.bytes("tokenizers/\(base)/\(file)") else { continue }
                    try Data(bytes).write(to: folder.appendingPathComponent(file))
                }
            }
            for (file, content) in expected["files"]?.objectValue ?? JSONObject() {
                try Data((content.stringValue ?? "").utf8).write(to: folder.appendingPathComponent(file))
            }
            let fixture = TokenizerFixture(
                tokenizer: try TokenizerLoader.load(folder: folder.path(percentEncoded: false)), expected: expected)
            let tokenizer = fixture.tokenizer
            #expect(tokenizer.vocabularySize == expected["size"]?.intValue, "\(name)")
            let names = [tokenizer.bosToken, tokenizer.eosToken, tokenizer.padToken, tokenizer.unkToken]
            #expect(names == expected["names"]?.arrayValue?.map(\.stringValue), "\(name)")
            let ids = fixture.lists("ids")
            let special = fixture.lists("idsWithSpecial")
            let decoded = fixture.texts("decoded")
            let skipping = fixture.texts("decodedSkipping")
            for (index, text) in fixture.texts("texts").enumerated() {
                #expect(try tokenizer.encode(text, addSpecialTokens: false) == ids[index], "\(name): \(text.debugDescription)")
                #expect(try tokenizer.encode(text, addSpecialTokens: true) == special[index], "\(name): \(text.debugDescription)")
                #expect(tokenizer.decode(ids[index], skipSpecialTokens: false) == decoded[index], "\(name)")
                #expect(tokenizer.decode(ids[index], skipSpecialTokens: true) == skipping[index], "\(name)")
                var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
                #expect(ids[index].map { stream.append($0) }.joined() + stream.flush() == skipping[index], "\(name), streamed")
            }
        }
    }
}
