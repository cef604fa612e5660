import Foundation
import TestKit
import Testing
import VLM

struct ChatSessionTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32, cacheMaxEntryCount: 300)
    private let short = GenerationConfig(maxNewTokens: 8, ignoreEOS: true)
    /// Random weights at a high temperature: hardly ever the spelling that the tokenizer would choose.
    private let wild = GenerationConfig(maxNewTokens: 24, temperature: 1.5, topK: 0, randomSeed: 11, ignoreEOS: true)

    private func withChat(
        _ generation: GenerationConfig? = nil, options: PipelineOptions = PipelineOptions(),
        _ body: (Pipeline, ChatSession) async throws -> Void
    ) async throws {
        try await withPipeline(model: model, engineConfig: exact, options: options) { pipeline in
            try await body(pipeline, pipeline.chat(system: "Be brief.", generation: generation ?? short))
        }
    }

    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("chat-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try await body(folder.path)
    }

    @Test func aTurnsPromptIsTheTurnsBeforeExactlyAsGenerated() async throws {
        try await withChat(wild) { pipeline, chat in
            let first = try await chat("hello")
            let before = await chat.tokens.tokens
            #expect(Array(before.suffix(24)) == first.tokenIDs)
            // The test would show nothing if the tokenizer spelled the answer as the model did.
            #expect(try pipeline.tokenize(first.text) != first.tokenIDs)
            let second = try await chat("and again")
            let after = await chat.tokens.tokens
            #expect(Array(after.prefix(before.count)) == before)
            #expect(after.count == second.inputTokenCount + second.generatedTokenCount)
            // What was written between the answers is what the template says, the end of the turn included.
            let between = pipeline.detokenize(
                Array(after[before.count..<second.inputTokenCount]), skipSpecialTokens: false)
            #expect(between.hasPrefix("<|im_end|>"))
            #expect(between.contains("and again"))
        }
    }

    @Test func anAnswerCutAtAStopWordIsTokenisedAsItsText() async throws {
        try await withChat(wild) { pipeline, chat in
            let whole = try await chat("hello")
            let before = await chat.tokens
            var cut = wild
            cut.stopWords = [String(try #require(whole.text.dropFirst(4).first { $0.isLetter }))]
            let branch = pipeline.chat(system: "Be brief.", generation: cut)
            let first = try await branch("hello")
            #expect(first.finishReason == .stop && first.text.count < whole.text.count)
            #expect(await branch.tokens != before)
            #expect(await branch.tokens.tokens.isEmpty)
            let messages = await branch.messages
            let second = try await branch("and again")
            let plain = try await pipeline.prepare(.messages(messages + [.user("and again")]))
            #expect(second.inputTokenCount == plain.tokenIDs.count)
        }
    }

    @Test func picturesAreReadOnce() async throws {
        let records = Shared<[RequestRecord]>([])
        var options = PipelineOptions()
        options.observability.onRequest = { record in records.change { $0.append(record) } }
        try await withFolder { folder in
            let path = folder + "/picture.png"
            try FileManager.default.copyItem(atPath: Fixtures.path("models/images/square.png"), toPath: path)
            try await withChat(options: options) { _, chat in
                _ = try await chat("What is this?", images: [.path(path)])
                try FileManager.default.removeItem(atPath: path)
                let second = try await chat("Are you sure?")
                #expect(second.generatedTokenCount == 8)
                #expect(records.value.map(\.images.count) == [1, 0])
                guard case .image(.data(let bytes))? = await chat.messages[1].content.first else {
                    Issue.record("the history holds the picture's bytes")
                    return
                }
                #expect(!bytes.isEmpty)
            }
        }
    }

    @Test func branchesGoTheirOwnWays() async throws {
        try await withChat { pipeline, chat in
            _ = try await chat("one")
            let branch = await chat.branch()
            let left = try await chat("two")
            let right = try await branch("three")
            #expect(await chat.messages.map(\.texts) == ["Be brief.", "one", nil, "two", nil])
            #expect(await branch.messages[3].texts == "three")
            #expect(await branch.turnCount == 2)
            // A branch answers as the session itself would have.
            let straight = pipeline.chat(system: "Be brief.", generation: short)
            _ = try await straight("one")
            #expect(try await straight("three").tokenIDs == right.tokenIDs)
            #expect(left.index == 0)
        }
    }

    @Test func rewindingTakesTurnsBack() async throws {
        try await withChat { _, chat in
            _ = try await chat("one")
            let tokens = await chat.tokens.tokens
            let second = try await chat("two")
            try await chat.rewind()
            #expect(await chat.turnCount == 1)
            #expect(try await chat("two").tokenIDs == second.tokenIDs)
            #expect(await chat.tokens.tokens.starts(with: tokens))
            try await chat.rewind(turns: 2)
            #expect(await chat.messages.map(\.role) == ["system"])
            await #expect { try await chat.rewind() } throws: { ($0 as? ChatError)?.kind == .noSuchTurn }
            await #expect { try await chat.rewind(turns: -1) } throws: { ($0 as? ChatError)?.kind == .noSuchTurn }
            _ = try await chat("three")
            await chat.reset()
            #expect(await chat.turnCount == 0)
        }
    }

    @Test func aSavedSessionGoesOnAsIfItHadNeverEnded() async throws {
        let picture = try await loadImage(Fixtures.path("models/images/square.png"))
        try await withFolder { folder in
            let file = folder + "/chat.json"
            var tokens: [Int32] = []
            var expected: [Int32] = []
            try await withChat(wild) { _, chat in
                _ = try await chat("What is this?", images: [.path(Fixtures.path("models/images/square.png")), .image(picture)])
                _ = try await chat("Sure?")
                try await chat.save(to: file)
                expected = try await chat("Really?", generation: short).tokenIDs
                tokens = await chat.tokens.tokens
            }
            try await withPipeline(model: model, engineConfig: exact) { pipeline in
                let chat = try await pipeline.chat(restoring: ChatSnapshot(contentsOf: file), generation: short)
                #expect(await chat.turnCount == 2)
                #expect(try await chat("Really?").tokenIDs == expected)
                #expect(await chat.tokens.tokens == tokens)
            }
        }
    }

    @Test func filesThatAreNoConversationsAreRefused() async throws {
        try await withFolder { folder in
            let file = folder + "/chat.json"
            func expect(_ kind: ChatError.Kind, _ words: String) async throws {
                await #expect {
                    try await withPipeline(model: model, engineConfig: exact) { pipeline in
                        _ = try await pipeline.chat(restoring: ChatSnapshot(contentsOf: file))
                    }
                } throws: { ($0 as? ChatError)?.kind == kind && "\($0)".contains(words) }
            }
            try await expect(.file, file)
            try "not JSON".write(toFile: file, atomically: true, encoding: .utf8)
            try await expect(.invalidSnapshot, file)
            try await withChat { _, chat in
                _ = try await chat("hello")
                try await chat.save(to: file)
            }
            let good = try String(contentsOfFile: file, encoding: .utf8)
            for (old, new, words) in [
                ("\"version\":1", "\"version\":9", "form 9"), ("\"role\":\"assistant\"", "\"role\":\"user\"", "turn 0"),
                ("\"byteCount\":", "\"byteCount\":9", "ends of answers"), ("\"content\"", "\"contents\"", "content"),
            ] {
                let bad = good.replacingOccurrences(of: old, with: new)
                #expect(bad != good)
                try bad.write(toFile: file, atomically: true, encoding: .utf8)
                try await expect(.invalidSnapshot, words)
            }
            try await withChat { _, chat in
                await #expect { try await chat.save(to: folder + "/no/such/chat.json") } throws: {
                    ($0 as? ChatError)?.kind == .file
                }
            }
        }
    }

    @Test func aDroppedTurnLeavesNoTrace() async throws {
        try await withChat { _, chat in
            _ = try await chat("one")
            let tokens = await chat.tokens
            for try await _ in chat.stream("two", generation: GenerationConfig(maxNewTokens: 300, ignoreEOS: true)) { break }
            // The next turn waits until the dropped one is gone.
            let third = try await chat("three")
            #expect(await chat.messages.compactMap(\.texts).contains("two") == false)
            #expect(await chat.turnCount == 2)
            #expect(await chat.tokens.tokens.starts(with: tokens.tokens))
            #expect(third.generatedTokenCount == 8)
        }
    }

    @Test func turnsAskedAtOnceFollowOneAnother() async throws {
        try await withChat { _, chat in
            let streams = ["one", "two", "three"].map { chat.stream($0) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for stream in streams.reversed() {
                    group.addTask { for try await _ in stream {} }
                }
                try await group.waitForAll()
            }
            #expect(await chat.messages.filter { $0.role == "user" }.map(\.texts) == ["one", "two", "three"])
        }
    }

    @Test func oneAnswerToATurn() async throws {
        try await withChat { _, chat in
            await #expect { try await chat("hello", generation: GenerationConfig(n: 2)) } throws: {
                ($0 as? EngineError)?.kind == .invalidRequest
            }
            #expect(await chat.turnCount == 0)
        }
    }
}

extension ChatMessage {
    /// The texts of the message, nil for an answer.
    fileprivate var texts: String? {
        role == "assistant"
            ? nil
            : content.map { part in
                if case .text(let text) = part { text } else { "" }
            }.joined()
    }
}
