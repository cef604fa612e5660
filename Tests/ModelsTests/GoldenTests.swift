import Layers
import Models
import Tensors
import TestKit
import Testing

/// Every fixture against transformers 5.17.0 in float32, on the reference backend.
@Suite struct GoldenTests {
    static let names = [
        "qwen2", "qwen2-yarn", "qwen3", "llama3", "llama-linear", "internlm2",
        "qwen2_vl", "qwen2_5_vl", "qwen2_5_vl-transformers5", "qwen2_5_vl-untied",
        "internvl", "internvl-qwen3-transformers5",
        "internvl_chat-qwen2", "internvl_chat-qwen3", "internvl_chat-internlm2", "internvl_chat-llama",
    ]

    private func load(_ golden: GoldenModel) throws -> ModelRunner {
        let backend = ReferenceBackend()
        return try ModelRunner(try ModelRegistry.load(try golden.checkpoint(), backend: backend), backend: backend)
    }

    @Test(arguments: names) func pixels(_ name: String) throws {
        let golden = try GoldenModel(name)
        let model = try load(golden).model
        for each in golden.cases where !each.images.isEmpty {
            let images = try golden.processedImages(each, model)
            // The larger cases keep only their grid; their features still depend on every pixel.
            if let reference = golden.floats(each, "pixel_values") {
                let pixels = images.flatMap(\.pixels)
                try #require(pixels.count == reference.count, "\(each.name)")
                let differences = zip(pixels, reference).map { abs($0 - $1) }
                #expect((differences.max() ?? 0) < 1e-5, "\(each.name)")
            }
            if let grids = golden.integers(each, "image_grid_thw") {
                #expect(images.flatMap(\.grid) == grids.map { Int($0) }, "\(each.name)")
            }
        }
    }

    @Test(arguments: names) func features(_ name: String) throws {
        let golden = try GoldenModel(name)
        let runner = try load(golden)
        for each in golden.cases where !each.images.isEmpty {
            let images = try golden.referenceImages(each, runner.model)
            let features = try runner.encode(images).flatMap { try runner.download($0) }
            let reference = try #require(golden.floats(each, "image_features"))
            #expect(relativeError(features, reference) < 1e-4, "\(each.name)")
        }
    }

    @Test(arguments: names) func positions(_ name: String) throws {
        let golden = try GoldenModel(name)
        let model = try load(golden).model
        for each in golden.cases {
            let tokens = try #require(golden.integers(each, "input_ids"))
            let (positions, next) = try model.positions(tokenIDs: tokens, images: try golden.processedImages(each, model))
            let flat = positions.flatMap { $0 }
            #expect(positions.count == model.language.positionAxes)
            #expect(next == (flat.max() ?? -1) + 1, "\(each.name)")
            if let reference = golden.integers(each, "position_ids") { #expect(flat == reference, "\(each.name)") }
        }
    }

    @Test(arguments: names) func logitsAndGreedyTokens(_ name: String) throws {
        let golden = try GoldenModel(name)
        let runner = try load(golden)
        let imageToken = try golden.imageTokenID(runner.model)
        for each in golden.cases {
            let tokens = try #require(golden.integers(each, "input_ids"))
            let images = try golden.referenceImages(each, runner.model)
            let (part, next) = try runner.prompt(
                tokens, images: images, features: try runner.encode(images), imageTokenID: imageToken, allRows: true)
            let rows = try runner.run([part])
            let reference = try #require(golden.floats(each, "logits"))
            #expect(relativeError(rows.flatMap { $0 }, reference) < 1e-4, "\(each.name)")

            var logits = try #require(rows.last)
            for (index, expected) in each.greedyTokens.enumerated() {
                let token = largest(logits)
                // Where two tokens are all but equal either may win, and the texts part.
                if each.margins[index] < 1e-3 { break }
                try #require(token == expected, "\(each.name), token \(index)")
                logits = try runner.step(part.sequence, token: token, position: next + Int32(index))
            }
        }
    }

    private func largest(_ logits: [Float]) -> Int32 {
        Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
    }
}
