import Foundation
import JSON
import TestKit
import Testing
import VLM

/// Responses held to a form, through the public API. The model is tiny and random: whatever form its answers have, the masks gave it.
@Suite struct GuidedTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32)

    private func generation(_ format: ResponseFormat?, temperature: Float = 0, maxNewTokens: Int = 200) -> GenerationConfig {
        GenerationConfig(maxNewTokens: maxNewTokens, temperature: temperature, topK: 0, randomSeed: 1, responseFormat: format)
    }

    @Test func regexesHold() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            for temperature: Float in [0, 1] {
                let response = try await pipeline(
                    "When?", generation: generation(.regex("[0-9]{2}:[0-9]{2} (am|pm)"), temperature: temperature))
                #expect(response.finishReason == .stop)
                #expect(response.text.wholeMatch(of: /[0-9]{2}:[0-9]{2} (am|pm)/) != nil, "\(response.text)")
                #expect(response.tokenIDs.count == response.generatedTokenCount)
            }
        }
    }

    @Test func schemasHold() async throws {
        let schema = """
            {"type": "object", "properties": {"sign": {"type": "string", "maxLength": 5}, "count": {"type": "integer", "minimum": 0, "maximum": 99},
             "colour": {"enum": ["red", "blå"]}}, "required": ["sign", "count", "colour"]}
            """
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            for temperature: Float in [0, 1] {
                var streamed = ""
                var last: Response?
                for try await piece in pipeline.stream(
                    "Read it.", generation: generation(.jsonSchema(schema), temperature: temperature))
                {
                    streamed += piece.text
                    last = piece.response ?? last
                }
                let response = try #require(last)
                #expect(response.finishReason == .stop && streamed == response.text)
                let value = try JSONValue(parsing: response.text, source: "response")
                #expect((value["sign"]?.stringValue?.unicodeScalars.count).map { $0 <= 5 } == true)
                #expect((value["count"]?.intValue).map { (0...99).contains($0) } == true)
                #expect(["red", "blå"].contains(value["colour"]?.stringValue))
            }
        }
    }

    @Test func grammarsAndObjectsHold() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let response = try await pipeline("?", generation: generation(.grammar("root ::= \"(\" (\"yes\" | \"no\") \")\"")))
            #expect(["(yes)", "(no)"].contains(response.text))
            // An object may go on for ever; what there is of it begins one.
            let object = try await pipeline("?", generation: generation(.jsonObject, maxNewTokens: 20))
            #expect(object.text.hasPrefix("{"))
            #expect(object.finishReason == .length || (try? JSONValue(parsing: object.text, source: "response")) != nil)
        }
    }

    /// Guided and free requests of one batch: each is what it is alone.
    @Test func othersOfTheBatchAreAsTheyWere() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let format = ResponseFormat.regex("[a-z]{3,12}[.!]")
            let free = GenerationConfig(maxNewTokens: 12, ignoreEOS: true)
            let alone = try await pipeline("One", generation: free)
            let guidedAlone = try await pipeline("Two", generation: generation(format))
            async let first = pipeline("One", generation: free)
            async let second = pipeline("Two", generation: generation(format))
            #expect(try await first.tokenIDs == alone.tokenIDs)
            #expect(try await second.text == guidedAlone.text)
        }
    }

    @Test(arguments: [
        (ResponseFormat.jsonSchema(#"{"properties": {"a": {"not": {}}}}"#), "#/properties/a/not"), (.regex("a(?=b)"), "regex:4"),
        (.grammar("root ::= thing"), "grammar:1:10"), (.jsonSchema("{"), "#"),
    ])
    func formsThatCannotBeHeldAreErrorsBeforeGeneration(_ format: ResponseFormat, _ place: String) async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let error = try await #require(throws: GuidanceError.self) { try await pipeline("?", generation: generation(format)) }
            #expect(error.location == place)
            // Others go on.
            #expect(try await pipeline("?", generation: generation(.regex("x"))).text == "x")
        }
    }

    @Test func aFormHasAnEnd() async throws {
        let config = GenerationConfig(ignoreEOS: true, responseFormat: .jsonObject)
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let error = try await #require(throws: EngineError.self) { try await pipeline("?", generation: config) }
            #expect(error.kind == .invalidRequest && error.description.contains("ignoreEOS"))
        }
    }
}
