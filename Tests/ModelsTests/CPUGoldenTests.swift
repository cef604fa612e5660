import CPUBackend
import Layers
import Models
import TestKit
import Testing

/// The CPU backend's two modes against transformers 5.17.0.
@Suite struct CPUGoldenTests {
    private func load(_ golden: Golden, _ mode: CPUBackend.Mode) throws -> ModelRunner {
        let backend = try CPUBackend(threads: 1, mode: mode)
        return try ModelRunner(try ModelRegistry.load(try golden.open(), backend: backend), backend: backend)
    }

    private func prompt(_ each: GoldenCase, _ golden: Golden, _ runner: ModelRunner) throws -> (
        part: ModelRunner.Part, nextPosition: Int32
    ) {
        let images = try each.referenceImages(runner.model)
        return try runner.prompt(
            try each.inputIDs, images: images, features: try runner.encode(images),
            imageTokenID: try golden.imageTokenID(runner.model), allRows: true)
    }

    @Test(arguments: Golden.all) func exactModeEqualsTransformers(_ name: String) throws {
        let golden = try Golden(name)
        let runner = try load(golden, .exact)
        for each in golden.cases {
            if each.has("image_features") {
                let features = try runner.encode(try each.referenceImages(runner.model)).flatMap { try runner.download($0) }
                #expect(relativeL2(features, try each.floats("image_features").values) < 1e-5, "\(each.name)")
            }
            let (part, next) = try prompt(each, golden, runner)
            let rows = try runner.run([part])
            #expect(relativeL2(rows.flatMap { $0 }, try each.floats("logits").values) < 1e-5, "\(each.name)")
            var logits = try #require(rows.last)
            for (index, expected) in each.greedyTokens.enumerated() {
                if each.margins[index] < 1e-3 { break }
                let token = Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
                try #require(token == expected, "\(each.name), token \(index)")
                logits = try runner.step(part.sequence, token: token, position: next + Int32(index))
            }
        }
    }

    @Test(arguments: Golden.all) func fastModeIsNoWorseThanTransformersInBfloat16(_ name: String) throws {
        let golden = try Golden(name)
        let runner = try load(golden, .fast)
        for each in golden.cases {
            let logits = try runner.run([try prompt(each, golden, runner).part]).flatMap { $0 }
            let error = relativeL2(logits, try each.floats("logits").values)
            #expect(error < 1.5 * each.bfloat16RelativeL2, "\(each.name)")
        }
    }
}
