import Engine
import Foundation
import JSON
import TestKit
import Testing
import VLM

/// The model that ships, against transformers on a part of its evaluation set (`Tools/demo-model/fixtures.py`).
struct DemoModelTests {
    struct Case: Sendable {
        let prompt: Prompt
        let name: String
        let inputIDs: [Int32]
        let answer: String
        /// The right answer; nil for small talk.
        let expected: String?
    }

    private func cases() throws -> [Case] {
        let list = try #require(try Fixtures.json("demo/demo.json")["cases"]?.arrayValue)
        return try list.map { item in
            let messages = try #require(item["messages"]).serialized()
            return Case(
                prompt: try #require(try Prompt.conversations(openAI: messages, relativeTo: Fixtures.path("demo")).first),
                name: "\(item["task"]?.stringValue ?? ""), \(item["split"]?.stringValue ?? ""), \(messages)",
                inputIDs: try #require(item["input_ids"]?.arrayValue).map { Int32(try #require($0.intValue)) },
                answer: try #require(item["answer"]?.stringValue), expected: item["expected"]?.stringValue)
        }
    }

    @Test func float32AnswersAreTransformersAnswers() async throws {
        let cases = try cases()
        #expect(cases.count > 50)
        try await withPipeline(model: "demo", engineConfig: EngineConfig(device: .cpu, dtype: .float32)) { pipeline in
            for item in cases {
                #expect(try await pipeline.prepare(item.prompt).tokenIDs == item.inputIDs, "\(item.name)")
                let response = try await pipeline(item.prompt, generation: GenerationConfig(maxNewTokens: 96))
                #expect(response.text == item.answer, "\(item.name)")
            }
        }
    }

    @Test func bfloat16BatchesAnswerAsWell() async throws {
        let cases = try cases()
        try await withPipeline(model: "demo", engineConfig: EngineConfig(device: .cpu, dtype: .bfloat16)) { pipeline in
            let responses = try await pipeline(cases.map(\.prompt), generation: GenerationConfig(maxNewTokens: 96))
            let asked = zip(cases, responses).filter { $0.0.expected != nil }
            let right = asked.filter { $0.0.expected == $0.1.text }.count
            let reference = cases.filter { $0.expected == $0.answer }.count
            #expect(right >= reference - 2, "\(right) right of \(asked.count); transformers has \(reference) in float32")
        }
    }
}
