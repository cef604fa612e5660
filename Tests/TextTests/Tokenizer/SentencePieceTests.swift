import JSON
import TestKit
import Testing
import Text

/// Raw SentencePiece models against the sentencepiece library.
@Suite struct SentencePieceTests {
    @Test(arguments: ["spm-bpe", "spm-bpe-rules", "spm-unigram", "spm-unigram-bytes", "spm-suffix"])
    func encodes(name: String) throws {
        let fixture = try TokenizerFixture(name)
        let texts = fixture.texts("texts")
        #expect(texts.count > 40)
        for (text, ids) in zip(texts, fixture.lists("ids")) {
            #expect(try fixture.tokenizer.encode(text, addSpecialTokens: false) == ids, "\(name): \(text.debugDescription)")
        }
    }

    @Test func recognisesControlSymbols() throws {
        let tokenizer = try TokenizerFixture("spm-bpe").tokenizer
        let ids = try tokenizer.encode("<s>Hello</s>", addSpecialTokens: false)
        #expect(ids.first == tokenizer.tokenID("<s>") && ids.last == tokenizer.tokenID("</s>"))
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) == "Hello")
        #expect(tokenizer.bosToken == "<s>" && tokenizer.eosToken == "</s>" && tokenizer.unkToken == "<unk>")
        #expect(tokenizer.isSpecial(1) && !tokenizer.isSpecial(ids[1]))
    }

    @Test(arguments: ["Hello, world!", "今天天气很好 \u{1F600}", "  spaces  kept", "a\u{301}\n\t"])
    func decodesWhatItEncodes(text: String) throws {
        let tokenizer = try TokenizerFixture("spm-bpe").tokenizer
        let ids = try tokenizer.encode(text, addSpecialTokens: false)
        #expect(sameCodePoints(tokenizer.decode(ids, skipSpecialTokens: true), text))
    }
}
