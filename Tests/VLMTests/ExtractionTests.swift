import Foundation
import TestKit
import Testing
import VLM

/// Values read out of a model's answers. The models are tiny or random, but their answers are held to the schema.
struct ExtractionTests {
    enum Colour: String, CaseIterable, Extractable { case red, green, blue }

    struct Shape: Extractable, Equatable {
        struct Partial: Decodable, Sendable, Equatable {
            var name: String?
            var corners: Int?
        }
        let name: String
        let corners: Int
        static var schema: ExtractionSchema {
            .object(
                Shape.self, nil,
                [.property("name", String.self, .count(1...8)), .property("corners", Int.self, .range(0...12))])
        }
    }

    struct Scene: Extractable, Equatable {
        struct Partial: Decodable, Sendable, Equatable {
            var shapes: [Shape.Partial]?
            var colour: Colour??
            var day: Date??
            var code: String?
            var isDark: Bool?
        }
        let shapes: [Shape]
        let colour: Colour?
        let day: Date?
        let code: String
        let isDark: Bool
        static var schema: ExtractionSchema {
            .object(
                Scene.self, "A scene",
                [
                    .property("shapes", [Shape].self, "What is drawn", .count(1...3)), .property("colour", Colour?.self),
                    .property("day", Date?.self), .property("code", String.self, .pattern("^[A-Z]{2}-[0-9]{1,3}$")),
                    .property("isDark", Bool.self),
                ])
        }
    }

    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32)

    private func check(_ scene: Scene) {
        #expect((1...3).contains(scene.shapes.count))
        #expect(scene.shapes.allSatisfy { (1...8).contains($0.name.unicodeScalars.count) && (0...12).contains($0.corners) })
        #expect(scene.code.wholeMatch(of: #/[A-Z]{2}-[0-9]{1,3}/#) != nil)
    }

    /// Whatever a random model says, at any temperature, is a value of the type.
    @Test func everyAnswerIsAValue() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            for seed in 0..<12 as Range<UInt64> {
                let generation = GenerationConfig(
                    maxNewTokens: 700, temperature: seed == 0 ? 0 : Float(seed) / 4, topK: 0, randomSeed: seed)
                check(try await pipeline.extract(Scene.self, "What is drawn?", generation: generation))
            }
            let numbers = try await pipeline.extract(
                [UInt8].self, "Count.", generation: GenerationConfig(maxNewTokens: 40, temperature: 1, randomSeed: 3))
            #expect(numbers.count < 40)
        }
    }

    @Test func valuesFillWhileTheyArrive() async throws {
        let image = try await loadImage(Fixtures.path("../../Examples/shapes.jpg"))
        try await withPipeline(model: "demo", engineConfig: exact) { pipeline in
            let generation = GenerationConfig(maxNewTokens: 700)
            let whole = try await pipeline.extract(Scene.self, "What is drawn?", image, generation: generation)
            check(whole)
            var pieces: [ExtractionPiece<Scene>] = []
            for try await piece in pipeline.stream(Scene.self, "What is drawn?", image, generation: generation) {
                pieces.append(piece)
            }
            #expect(pieces.last?.value == whole)
            #expect(pieces.last?.response?.finishReason == .stop)
            #expect(pieces.dropLast().allSatisfy { $0.value == nil && $0.response == nil })
            // A member that is there stays, and lists only grow.
            #expect(pieces.first?.partial.code == nil && pieces.count > 5)
            for (earlier, later) in zip(pieces, pieces.dropFirst()) {
                #expect(earlier.partial.shapes?.count ?? 0 <= later.partial.shapes?.count ?? 0)
                #expect((later.partial.code ?? "").hasPrefix(earlier.partial.code ?? ""))
                if let colour = earlier.partial.colour { #expect(later.partial.colour == colour) }
            }
            let last = try #require(pieces.last).partial
            #expect(last.shapes == whole.shapes.map { Shape.Partial(name: $0.name, corners: $0.corners) })
            #expect(last.code == whole.code && last.isDark == whole.isDark)
        }
    }

    @Test func anAnswerCutShortIsAnErrorWithWhatWasRead() async throws {
        try await withPipeline(model: "demo", engineConfig: exact) { pipeline in
            let error = try await #require(throws: ExtractionError.self) {
                try await pipeline.extract(Scene.self, "What is drawn?", generation: GenerationConfig(maxNewTokens: 12))
            }
            #expect(error.kind == .cutShort)
            #expect(error.description.contains("after 12 tokens"))
            #expect(error.partial(of: Scene.self)?.isDark == nil && error.partial(of: Scene.self) != nil)
        }
    }

    @Test func thePromptTellsAboutTheFields() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            func promptTokens(_ prompt: Prompt, describesFields: Bool) async throws -> Int {
                for try await piece in pipeline.stream(Colour.self, prompt, describesFields: describesFields) {
                    if let response = piece.response { return response.inputTokenCount }
                }
                throw CancellationError()
            }
            let plain = try await promptTokens("Which?", describesFields: false)
            #expect(try await pipeline.prepare("Which?").tokenIDs.count == plain)
            let told = Prompt("Which?\n\n" + Colour.schema.instructions)
            #expect(try await promptTokens("Which?", describesFields: true) == pipeline.prepare(told).tokenIDs.count)
            let chat = Prompt.messages([.system("Be brief."), .user("Which?"), .assistant("What?"), .user("That.")])
            let toldChat = Prompt.messages([
                .system("Be brief."), .user("Which?"), .assistant("What?"), .user("That.\n\n" + Colour.schema.instructions),
            ])
            #expect(try await promptTokens(chat, describesFields: true) == pipeline.prepare(toldChat).tokenIDs.count)
        }
    }

    struct Broken: Extractable {
        let code: String
        static var schema: ExtractionSchema {
            .object(Broken.self, nil, [.property("code", String.self, .pattern("("))])
        }
    }

    struct Narrow: Extractable {
        let code: String
        let shares: [Double]
        static var schema: ExtractionSchema {
            .object(
                Narrow.self, nil,
                [
                    .property("code", String.self, .pattern("^[a-z]+$"), .count(2...4)),
                    .property("shares", [Double].self, .range(0...1), .count(2)),
                ])
        }
    }

    @Test func limitsHoldTogether() async throws {
        try await withPipeline(model: "demo", engineConfig: exact) { pipeline in
            let narrow = try await pipeline.extract(
                Narrow.self, "What is drawn?", generation: GenerationConfig(maxNewTokens: 200))
            #expect(narrow.code.wholeMatch(of: #/[a-z]{2,4}/#) != nil)
            #expect(narrow.shares.count == 2 && narrow.shares.allSatisfy { (0...1).contains($0) })
            await #expect(throws: GuidanceError.self) { try await pipeline.extract(Broken.self, "What is drawn?") }
        }
    }

    @Test func theSchemaIsTheTypes() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let error = try await #require(throws: EngineError.self) {
                try await pipeline.extract(Int.self, "How many?", generation: GenerationConfig(responseFormat: .jsonObject))
            }
            #expect(error.kind == .invalidRequest && error.description.contains("responseFormat"))
            let several = try await #require(throws: EngineError.self) {
                try await pipeline.extract(Int.self, "How many?", generation: GenerationConfig(n: 2))
            }
            #expect(several.kind == .invalidRequest && several.description.contains("n must be 1"))
        }
    }
}
