import Engine
import TestKit
import Testing
import Text

struct TokenBansTests {
    /// Each "word" of this tokenizer is a list of numbers, its tokens.
    private struct Numbers: Tokenizer {
        let vocabularySize = 8
        let bosToken: String? = nil
        let eosToken: String? = nil
        let padToken: String? = nil
        let unkToken: String? = nil
        func encode(_ text: String, addSpecialTokens: Bool) -> [Int32] {
            text.compactMap { $0.wholeNumberValue.map { Int32($0) } }
        }
        func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { ids.map(String.init).joined() }
        func tokenID(_ token: String) -> Int32? { Int32(token) }
        func token(_ id: Int32) -> String? { String(id) }
        func isSpecial(_ id: Int32) -> Bool { false }
        func makeStreamDecoder(skipSpecialTokens: Bool) -> any TokenStreamDecoder { Stream() }
        private struct Stream: TokenStreamDecoder {
            func append(_ id: Int32) -> String { String(id) }
            func flush() -> String { "" }
        }
    }

    /// What NoBadWordsLogitsProcessor of transformers 5.17.0 bans for the words below after random tokens. (It passes over a word as soon as
    /// the context has fewer tokens than the word, though all but its last might be there; such contexts are not among these.)
    private static let golden: [([Int32], Set<Int32>)] = [
        ([0, 1, 4, 2, 6], [5, 6]),
        ([0, 4, 0, 2, 1], [5]),
        ([0, 0, 6, 2, 4], [1, 5]),
        ([2, 2, 6, 0, 0], [5]),
        ([0, 4, 2, 6, 0, 6, 0, 0], [5]),
        ([0, 1, 0, 1, 2], [3, 5]),
        ([6, 2, 6, 2, 2], [3, 5]),
        ([4, 2, 0, 1, 0, 0, 0, 2], [3, 5]),
        ([1], [5]),
        ([2, 6, 1, 2, 4, 2, 4, 1], [5]),
        ([4, 2, 4, 0, 1], [5]),
        ([0, 1, 4, 6, 6, 0, 6, 1], [5]),
        ([4, 4, 0, 6, 6], [5, 6]),
        ([1, 1, 0, 0, 2], [3, 5]),
        ([2, 0, 1, 0, 2, 0, 0, 1], [5]),
        ([2, 0, 0], [5]),
        ([4, 0, 2, 6, 4], [1, 5]),
        ([4, 1], [5]),
        ([0, 0, 1, 0, 0], [5]),
        ([0, 0, 2, 1, 4], [1, 5]),
        ([0, 6], [5, 6]),
    ]

    @Test func wordsAreBannedWhereTransformersBansThem() throws {
        let bans = try TokenBans(words: ["5", "123", "23", "0000", "41", "66"], tokenIDs: [], tokenizer: Numbers())
        for (tokens, banned) in TokenBansTests.golden { #expect(bans.banned(after: tokens) == banned, "after \(tokens)") }
    }

    /// However a word stands in a text, the last of its tokens is banned where the others have come.
    @Test(
        arguments: ["qwen2", "llama3", "gemma", "o200k", "spm-bpe", "spm-unigram"], ["cat", "New York", "!!", "été", "<b>", " x"])
    func aWordIsBannedWhereverItBegins(name: String, word: String) throws {
        let tokenizer = try TokenizerLoader.load(folder: Fixtures.path("tokenizers/\(name)"))
        let bans = try TokenBans(words: [word], tokenIDs: [], tokenizer: tokenizer)
        for context in ["", "a ", "a\n", "The first ", "One\n\ntwo "] {
            let tokens = try tokenizer.encode(context + word, addSpecialTokens: false)
            let last = try #require(tokens.last)
            #expect(bans.banned(after: tokens.dropLast()).contains(last), "\(word) after \(context)")
        }
    }

    @Test func tokensAreBannedEverywhere() throws {
        let bans = try TokenBans(words: [], tokenIDs: [3, 7], tokenizer: Numbers())
        #expect(bans.banned(after: []) == [3, 7] && bans.banned(after: [1, 2]) == [3, 7])
        #expect(try TokenBans(words: [], tokenIDs: [], tokenizer: Numbers()).isEmpty)
    }

    // MARK: Loops

    @Test(arguments: [
        ([1, 2, 1, 2, 1, 2], 2, 3, true), ([1, 2, 1, 2, 1, 2], 2, 4, false), ([1, 2, 1, 2, 3], 2, 2, false),
        // Occurrences may overlap, and need not follow one another.
        ([7, 7, 7, 7], 2, 3, true), ([7, 7, 7], 2, 3, false), ([5, 6, 1, 5, 6, 2, 9, 5, 6], 2, 3, true), ([4], 2, 2, false),
        ([4, 4], 1, 2, true), ([], 1, 2, false), ([1, 2, 3], 0, 0, false),
    ])
    func aLoopIsTheNewestTokensComingAgain(tokens: [Int32], size: Int, threshold: Int, ends: Bool) {
        #expect(endsInLoop(tokens[...], size: size, threshold: threshold) == ends)
        #expect(endsInLoop(([9, 9] + tokens)[2...], size: size, threshold: threshold) == ends)
    }
}
