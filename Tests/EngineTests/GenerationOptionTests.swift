import Engine
import Foundation
import Testing

/// Each option through the whole engine, with a backend that computes at once and with one that computes late, against the model's rule.
@Suite(.serialized) struct GenerationOptionTests {
    private let prompt: [Int32] = (0..<9).map { Int32(($0 * 31 + 51) % 96 + 1) }

    private func answer(_ count: Int) -> [Int32] { EchoHash.answer(to: prompt.map { Float($0) }, count: count) }

    @Test(arguments: [false, true]) func presenceAndFrequencyPenalties(late: Bool) throws {
        let config = GenerationConfig(maxNewTokens: 40, presencePenalty: 3, frequencyPenalty: 0.75)
        let expected = EchoEngine.greedy(prompt, count: 40) { logits, tokens in
            for token in Set(tokens.dropFirst(prompt.count)) {
                let count = tokens.dropFirst(prompt.count).count { $0 == token }
                logits[Int(token)] -= 3 + 0.75 * Float(count)
            }
        }
        #expect(try EchoEngine(late: late).response(prompt, config).tokenIDs == expected)
        #expect(expected != answer(40), "the penalties must matter for this prompt")
    }

    @Test(arguments: [false, true]) func theRepetitionPenaltyLooksAtThePromptToo(late: Bool) throws {
        let config = GenerationConfig(maxNewTokens: 40, repetitionPenalty: 8)
        let expected = EchoEngine.greedy(prompt, count: 40) { logits, tokens in
            for token in Set(tokens) { logits[Int(token)] /= 8 }
        }
        #expect(try EchoEngine(late: late).response(prompt, config).tokenIDs == expected)
    }

    @Test(arguments: [false, true]) func badTokensNeverCome(late: Bool) throws {
        let banned = Array(answer(3).suffix(2))
        let config = GenerationConfig(maxNewTokens: 30, badTokenIDs: banned)
        let expected = EchoEngine.greedy(prompt, count: 30) { logits, _ in for token in banned { logits[Int(token)] = -.infinity }
        }
        #expect(try EchoEngine(late: late).response(prompt, config).tokenIDs == expected)
    }

    /// A word of several letters is several tokens of this tokenizer.
    @Test(arguments: [false, true]) func badWordsOfSeveralTokensNeverComeWhole(late: Bool) throws {
        let letters = LetterTokenizer()
        let free = letters.decode(answer(12), skipSpecialTokens: true)
        let word = String(free.dropFirst(3).prefix(3))
        let config = GenerationConfig(maxNewTokens: 12, badWords: [word])
        let spelled = letters.encode(word, addSpecialTokens: false)
        let expected = EchoEngine.greedy(prompt, count: 12) { logits, tokens in
            if tokens.suffix(2).elementsEqual(spelled.prefix(2)) { logits[Int(spelled[2])] = -.infinity }
        }
        let response = try EchoEngine(late: late).response(prompt, config)
        #expect(response.tokenIDs == expected)
        // The tokenizer's alphabet repeats, so the model may still write a letter with another of its tokens.
        #expect(!response.tokenIDs.indices.dropLast(2).contains { Array(response.tokenIDs[$0..<$0 + 3]) == spelled })
    }

    @Test(arguments: [false, true]) func stopTokensWordsAndLoopsWaitForTheMinimum(late: Bool) throws {
        let engine = try EchoEngine(late: late, stop: [answer(1)[0]])
        let first = LetterTokenizer().decode(answer(1), skipSpecialTokens: true)
        var config = GenerationConfig(maxNewTokens: 20, minNewTokens: 6, stopWords: [first])
        config.repetitionNgramSize = 1
        config.repetitionNgramThreshold = 2
        let response = try engine.response(prompt, config)
        #expect(response.tokenIDs.count >= 6)
        #expect(!response.tokenIDs.prefix(6).contains(answer(1)[0]))
        let expected = EchoEngine.greedy(prompt, count: 20) { logits, tokens in
            if tokens.count - prompt.count < 6 { logits[Int(answer(1)[0])] = -.infinity }
        }
        #expect(expected.starts(with: response.tokenIDs))
    }

    @Test(arguments: [false, true]) func anEndlessLoopEnds(late: Bool) throws {
        // A processor that makes the model say 5 6 7 5 6 7 …
        let loop = LogitsProcessor { logits, tokens in logits[5 + Int32(tokens.count % 3)] += 100 }
        var config = GenerationConfig(maxNewTokens: 100, repetitionNgramSize: 3, repetitionNgramThreshold: 4)
        config.logitsProcessors = [loop]
        let response = try EchoEngine(late: late).response(prompt, config)
        #expect(response.tokenIDs == [5, 6, 7, 5, 6, 7, 5, 6, 7, 5, 6, 7])
        #expect(response.finishReason == .stop)
    }

    @Test(arguments: [false, true]) func logitsProcessorsRunInOrderOverAllTokens(late: Bool) throws {
        let double = LogitsProcessor { logits, _ in
            logits.withUnsafeMutableBufferPointer { for index in $0.indices { $0[index] *= 2 } }
        }
        let shift = LogitsProcessor { logits, tokens in
            // Relative to the newest token, so a wrong history shows.
            logits[(tokens[tokens.count - 1] + 1) % 97] += 7.5
        }
        var config = GenerationConfig(maxNewTokens: 15, badTokenIDs: [3])
        config.logitsProcessors = [double, shift]
        let expected = EchoEngine.greedy(prompt, count: 15) { logits, tokens in
            for index in logits.indices { logits[index] *= 2 }
            logits[(Int(tokens[tokens.count - 1]) + 1) % 97] += 7.5
            logits[3] = -.infinity
        }
        #expect(try EchoEngine(late: late).response(prompt, config).tokenIDs == expected)
        #expect(config == config && double != shift)
    }

    @Test(arguments: [false, true]) func forbiddingEverythingIsAnErrorOfThatRequestAlone(late: Bool) throws {
        let all = GenerationConfig(maxNewTokens: 3, badTokenIDs: Array(0..<97))
        let responses = try EchoEngine(late: late).responses([
            EngineRequest(tokenIDs: prompt, generation: all),
            EngineRequest(tokenIDs: prompt, generation: GenerationConfig(maxNewTokens: 5)),
        ])
        #expect((responses[0].error as? EngineError)?.kind == .invalidRequest)
        #expect(responses[1].tokenIDs == answer(5))
    }

    // MARK: Prompts

    @Test(arguments: [1, 3, 64], [false, true]) func promptLogprobsAreThePromptsOwn(chunk: Int, late: Bool) throws {
        for new in [0, 4] {
            let config = GenerationConfig(maxNewTokens: new, promptLogprobs: 2)
            let response = try EchoEngine(late: late, chunk: chunk).response(prompt, config)
            let logprobs = try #require(response.promptLogprobs)
            #expect(logprobs.count == prompt.count - 1)
            for (index, entry) in logprobs.enumerated() {
                let logits = EchoEngine.logits(after: Array(prompt[...index])).map(Double.init)
                let normalizer = log(logits.reduce(0) { $0 + exp($1) })
                #expect(entry.chosen.tokenID == prompt[index + 1])
                #expect(abs(Double(entry.chosen.logprob) - (logits[Int(prompt[index + 1])] - normalizer)) < 1e-5)
                #expect(entry.top.count == 2 && abs(Double(entry.top[0].logprob) - (4 - normalizer)) < 1e-5)
            }
            #expect(response.tokenIDs == answer(new) && response.logits == nil)
        }
    }

    @Test(arguments: [1, 4, 64], [false, true]) func hiddenStatesArePooled(chunk: Int, late: Bool) throws {
        // The model's hidden state is the token it expects next.
        let states = prompt.indices.map { EchoHash.answer(to: prompt[...$0].map { Float($0) }, count: 1)[0] }
        let engine = try EchoEngine(late: late, chunk: chunk)
        let none = GenerationConfig(maxNewTokens: 0)
        #expect(try engine.response(prompt, none, pooling: .last).pooledHiddenState == [Float(states[8])])
        let mean = try #require(try engine.response(prompt, none, pooling: .mean).pooledHiddenState)
        #expect(abs(mean[0] - states.reduce(0) { $0 + Float($1) } / 9) < 1e-4)
        let both = try engine.response(prompt, GenerationConfig(maxNewTokens: 3), pooling: .mean)
        #expect(both.pooledHiddenState == mean && both.tokenIDs == answer(3) && both.lastHiddenState == nil)
    }

    // MARK: Determinism

    /// A request's random numbers depend on its seed and the token's number alone.
    @Test(arguments: [false, true]) func theSameSeedGivesTheSameTextWhateverElseRuns(late: Bool) throws {
        let config = GenerationConfig(maxNewTokens: 24, temperature: 2, topK: 0, randomSeed: 77)
        let alone = try EchoEngine(late: late, batch: 1).response(prompt, config).tokenIDs
        let others = (0..<7).map {
            EngineRequest(
                tokenIDs: Array(prompt.dropFirst($0 % 4)),
                generation: GenerationConfig(maxNewTokens: 5 + 3 * $0, temperature: 1.5, topK: 0))
        }
        for place in [0, 3, 7] {
            var requests = others
            requests.insert(EngineRequest(tokenIDs: prompt, generation: config), at: place)
            let engine = try EchoEngine(late: late, batch: 3, chunk: 5)
            #expect(try engine.responses(requests)[place].tokenIDs == alone)
        }
        var other = config
        other.randomSeed = 78
        #expect(try EchoEngine(late: late).response(prompt, other).tokenIDs != alone)
    }

    @Test(arguments: [
        GenerationConfig(presencePenalty: .nan), GenerationConfig(frequencyPenalty: .infinity), GenerationConfig(badWords: [""]),
        GenerationConfig(badTokenIDs: [97]), GenerationConfig(badTokenIDs: [-1]), GenerationConfig(stopTokenIDs: [97]),
        GenerationConfig(repetitionNgramSize: 3), GenerationConfig(repetitionNgramThreshold: 3),
        GenerationConfig(repetitionNgramSize: 2, repetitionNgramThreshold: 1), GenerationConfig(promptLogprobs: -1),
    ]) func badOptionsAreRefused(config: GenerationConfig) throws {
        let engine = try EchoEngine()
        #expect(throws: EngineError.self) { try engine.core.submit(EngineRequest(tokenIDs: [3], generation: config)) { _ in } }
    }
}
