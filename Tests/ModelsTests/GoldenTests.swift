import CPUBackend
import Layers
import Models
import Tensors
import TestKit
import Testing

/// Every fixture against transformers 5.17.0 in float32.
@Suite struct GoldenTests {
    private func load(_ golden: Golden) throws -> ModelRunner {
        let backend = ReferenceBackend()
        return try ModelRunner(try ModelRegistry.load(try golden.open(), backend: backend), backend: backend)
    }

    @Test(arguments: Golden.all) func pixels(_ name: String) throws {
        let golden = try Golden(name)
        let model = try load(golden).model
        for each in golden.cases where !each.images.isEmpty {
            let images = try each.processedImages(model)
            // The larger cases keep only their grid; their features still depend on every pixel.
            if each.has("pixel_values") {
                #expect(
                    largestDifference(images.flatMap(\.pixels), try each.floats("pixel_values").values) < 1e-5, "\(each.name)")
            }
            if each.has("image_grid_thw") {
                #expect(images.flatMap(\.grid) == (try each.integers("image_grid_thw")).map { Int($0) }, "\(each.name)")
            }
        }
    }

    @Test(arguments: Golden.all) func features(_ name: String) throws {
        let golden = try Golden(name)
        let runner = try load(golden)
        for each in golden.cases where !each.images.isEmpty {
            let features = try runner.encode(try each.referenceImages(runner.model)).flatMap { try runner.download($0) }
            #expect(relativeL2(features, try each.floats("image_features").values) < 1e-5, "\(each.name)")
        }
    }

    /// Patches cut from bytes beside the tower are the very floats that the reference is given.
    @Test(arguments: Golden.all) func featuresOfBytesEqualThoseOfFloats(_ name: String) throws {
        let golden = try Golden(name)
        for backend in [try CPUBackend(threads: 2, mode: .exact) as any Backend, ReferenceBackend()] {
            let runner = try ModelRunner(
                try ModelRegistry.load(try golden.open(), backend: backend), backend: backend, workspaceBytes: 16 << 20)
            for each in golden.cases where !each.images.isEmpty {
                let images = try each.processedImages(runner.model)
                for image in images {
                    guard case .pictures = image.content else {
                        Issue.record("\(each.name): the pixels were computed on the host")
                        continue
                    }
                }
                let floats = images.map {
                    $0.with(pixels: $0.pixels)
                }
                let features = try runner.encode(images).flatMap { try runner.download($0) }
                #expect(try features == runner.encode(floats).flatMap { try runner.download($0) }, "\(each.name)")
                if each.has("image_features") {
                    #expect(relativeL2(features, try each.floats("image_features").values) < 1e-5, "\(each.name)")
                }
            }
        }
    }

    @Test(arguments: Golden.all) func positions(_ name: String) throws {
        let golden = try Golden(name)
        let model = try load(golden).model
        for each in golden.cases {
            let (positions, next) = try model.positions(
                tokenIDs: try each.inputIDs, images: try each.processedImages(model))
            let flat = positions.flatMap { $0 }
            #expect(positions.count == model.language.positionAxes)
            #expect(next == (flat.max() ?? -1) + 1, "\(each.name)")
            if each.has("position_ids") { #expect(flat == (try each.integers("position_ids")), "\(each.name)") }
        }
    }

    @Test(arguments: Golden.all) func logitsAndGreedyTokens(_ name: String) throws {
        let golden = try Golden(name)
        let runner = try load(golden)
        let imageToken = try golden.imageTokenID(runner.model)
        for each in golden.cases {
            let images = try each.referenceImages(runner.model)
            let (part, next) = try runner.prompt(
                try each.inputIDs, images: images, features: try runner.encode(images), imageTokenID: imageToken, allRows: true)
            let rows = try runner.run([part])
            #expect(relativeL2(rows.flatMap { $0 }, try each.floats("logits").values) < 1e-5, "\(each.name)")

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
