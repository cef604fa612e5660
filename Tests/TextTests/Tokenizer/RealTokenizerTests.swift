import JSON
import Testing
import Text

/// Real vocabularies, of Python packages that ship them, on a mixed corpus.
@Suite(.enabled(if: !RealPackages.vocabularies.isEmpty, RealPackages.skipped("real vocabularies")))
struct RealTokenizerTests {
    /// What was fetched; components over a vocabulary of bytes are always there.
    private static let names: [String] = {
        let names = RealPackages.vocabularies.keys
        for name in ["qwen2", "deepseek", "llama3-tiktoken", "mistral-v3"] where !names.isEmpty && !names.contains(name) {
            print("skipped: \(name) was not fetched")
        }
        return names.sorted()
    }()

    @Test(arguments: names)
    func agrees(name: String) throws {
        let folder = try #require(RealPackages.vocabularies[name])
        let expected = try JSONValue(contentsOf: folder + "/expected.json")
        let tokenizer = try TokenizerLoader.load(folder: folder)
        let texts = try #require(expected["texts"]?.arrayValue)
        #expect(texts.count > 100)
        var failures = 0
        for (index, text) in texts.enumerated() {
            let text = text.stringValue ?? ""
            let ids = try tokenizer.encode(text, addSpecialTokens: false)
            let wanted = (expected["ids"]?[index]?.arrayValue ?? []).map { Int32($0.intValue ?? -1) }
            if ids != wanted {
                failures += 1
                let first = zip(ids, wanted).enumerated().first { $1.0 != $1.1 }?.offset ?? min(ids.count, wanted.count)
                let around = wanted[max(0, first - 2)..<min(wanted.count, first + 3)].map { tokenizer.token($0) ?? "?" }
                Issue.record(
                    "\(name), text \(index), token \(first), expected around it \(around), text \(text.prefix(60).debugDescription)"
                )
                if failures > 4 { break }
            }
            guard let decoded = expected["decoded"]?[index]?.stringValue else { continue }
            #expect(sameCodePoints(tokenizer.decode(wanted, skipSpecialTokens: false), decoded), "\(name), text \(index)")
            var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: false)
            let streamed = wanted.map { stream.append($0) }.joined() + stream.flush()
            #expect(sameCodePoints(streamed, decoded), "\(name), text \(index), streamed")
        }
    }
}
