import Layers
import Models
import Tensors
import TestKit
import Testing

/// How a prompt is cut into passes, and what shares a pass with it, changes nothing.
@Suite struct BatchingTests {
    static let names = ["qwen2_5_vl", "qwen3_vl", "internvl", "llava_next", "smolvlm", "qwen3", "llama3"]

    private func load(_ golden: Golden) throws -> ModelRunner {
        let backend = ReferenceBackend()
        return try ModelRunner(try ModelRegistry.load(try golden.open(), backend: backend), backend: backend, blocks: 96)
    }

    private func prompt(
        _ each: GoldenCase, _ golden: Golden, _ runner: ModelRunner, allRows: Bool = false
    ) throws -> (part: ModelRunner.Part, nextPosition: Int32) {
        let images = try each.processedImages(runner.model)
        return try runner.prompt(
            try each.inputIDs, images: images, features: try runner.encode(images),
            imageTokenID: try golden.imageTokenID(runner.model), allRows: allRows)
    }

    @Test(arguments: names, [1, 7, 64]) func chunkedPrefillEqualsOneShot(_ name: String, _ size: Int) throws {
        let golden = try Golden(name)
        let runner = try load(golden)
        let each = golden.cases[0]
        let whole = try #require(try runner.run([try prompt(each, golden, runner).part]).last)
        var last: [Float] = []
        for chunk in chunks(try prompt(each, golden, runner).part, size: size) {
            let rows = try runner.run([chunk])
            #expect(rows.count == chunk.outputs.count)
            last = rows.last ?? []
        }
        #expect(relativeL2(last, whole) < 1e-6)
    }

    @Test(arguments: names) func raggedBatchEqualsOneByOne(_ name: String) throws {
        let golden = try Golden(name)
        let alone = try load(golden)
        let together = try load(golden)
        var expected: [[Float]] = []
        var steps: [[Float]] = []
        var prompts: [(part: ModelRunner.Part, nextPosition: Int32)] = []
        for each in golden.cases {
            let (part, next) = try prompt(each, golden, alone)
            expected += try alone.run([part])
            steps.append(try alone.step(part.sequence, token: 5, position: next))
            prompts.append(try prompt(each, golden, together))
        }
        let rows = try together.run(prompts.map(\.part))
        try #require(rows.count == expected.count)
        for (row, reference) in zip(rows, expected) { #expect(relativeL2(row, reference) < 1e-6) }

        // A decoding step of all but the first, in a pass with the second half of another prompt.
        let late = chunks(try prompt(golden.cases[0], golden, together).part, size: 20)
        _ = try together.run([late[0]])
        let decoding = prompts.dropFirst().map { prompt in
            ModelRunner.Part(
                sequence: prompt.part.sequence, tokens: [5],
                positions: [[Int32]](repeating: [prompt.nextPosition], count: together.model.language.positionAxes), outputs: [0])
        }
        let mixed = try together.run([late[1]] + decoding)
        for (row, reference) in zip(mixed.suffix(decoding.count), steps.dropFirst()) {
            #expect(relativeL2(row, reference) < 1e-6)
        }
    }

    @Test(arguments: names) func wantedRowsAreTheRowsOfAll(_ name: String) throws {
        let golden = try Golden(name)
        let runner = try load(golden)
        let all = try runner.run([try prompt(golden.cases[0], golden, runner, allRows: true).part])
        var some = try prompt(golden.cases[0], golden, runner).part
        some.outputs = [0, 3, 4, all.count - 2]
        let rows = try runner.run([some])
        try #require(rows.count == 4)
        for (row, index) in zip(rows, some.outputs) { #expect(relativeL2(row, all[index]) < 1e-6) }
    }

    @Test(arguments: [
        "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "internvl", "internvl_chat-qwen2", "llava-clip", "llava_next", "llava_onevision",
        "smolvlm",
    ])
    func imagesTogetherEqualOneByOne(_ name: String) throws {
        let golden = try Golden(name)
        let runner = try load(golden)
        let images = try golden.cases.flatMap { try $0.processedImages(runner.model) }
        try #require(images.count > 2)
        let together = try runner.encode(images)
        for (image, features) in zip(images, together) {
            let alone = try runner.encode([image])
            #expect(relativeL2(try runner.download(features), try runner.download(alone[0])) < 1e-6)
        }
    }
}
