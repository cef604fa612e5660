import Checkpoints
import JSON
import Layers
import Models
import TestKit
import Testing

/// What models compute on the host, against numbers of transformers 5.17.0 and torch (`Tools/goldens/layers.py`).
@Suite struct HostComputationTests {
    private func golden(_ key: String) throws -> [JSONValue] {
        let cases = try #require(try Fixtures.json("layers/golden.json")[key]?.arrayValue)
        try #require(!cases.isEmpty)
        return cases
    }

    private func floats(_ value: JSONValue?) -> [Float] {
        (value?.arrayValue ?? []).compactMap { $0.doubleValue.map { Float($0) } }
    }
    private func integers(_ value: JSONValue?) -> [Int32] {
        (value?.arrayValue ?? []).compactMap { $0.intValue.map { Int32($0) } }
    }

    @Test func rotaryFrequenciesOfEveryVariant() throws {
        for each in try golden("rope") {
            let name = each["name"]?.stringValue ?? ""
            let config = ConfigReader(try #require(each["config"]?.objectValue), file: "config.json")
            let rotary = try RotaryConfig(config, headSize: 32, maxPositions: 4096, defaultTheta: 10_000)
            let frequencies = rotary.inverseFrequencies(length: try #require(each["length"]?.intValue))
            let reference = floats(each["inverse_frequencies"])
            try #require(frequencies.count == reference.count, "\(name)")
            for (a, b) in zip(frequencies, reference) { #expect(abs(a - b) <= 4e-7 * abs(b), "\(name)") }
            let factor = try #require(each["attention_factor"]?.doubleValue)
            #expect(abs(Double(rotary.attentionFactor) - factor) < 1e-6, "\(name)")
        }
    }

    @Test func equalLlama3FactorsDivideNothingByZero() {
        let rotary = RotaryConfig(
            rotarySize: 64, theta: 500_000, scaling: .llama3(factor: 16, lowFactor: 1, highFactor: 1, originalLength: 8192),
            maxPositions: 1 << 20)
        #expect(rotary.inverseFrequencies(length: 0).allSatisfy { $0.isFinite && $0 > 0 })
    }

    @Test func windowOrderOfPatches() throws {
        for each in try golden("windows") {
            let grids = (each["grids"]?.arrayValue ?? []).map { integers($0).map { Int($0) } }
            let layout = PatchLayout(grids: grids, merge: 2, window: 2)
            #expect(layout.blocks == integers(each["order"]))
            #expect(layout.windows == integers(each["starts"]))
            let plain = PatchLayout(grids: grids, merge: 2, window: nil)
            let patches = (each["patches"]?.arrayValue ?? []).map { integers($0) }
            #expect(plain.rows == patches.map { $0[0] })
            #expect(plain.columns == patches.map { $0[1] })
            #expect(plain.windows == plain.frames)
            #expect(layout.inverse.enumerated().allSatisfy { layout.blocks[Int($1)] == Int32($0) })
        }
    }

    @Test func resizedPositionTables() throws {
        for each in try golden("tables") {
            let (side, newSide) = (try #require(each["side"]?.intValue), try #require(each["new_side"]?.intValue))
            let resized = BicubicGrid.resized(floats(each["values"]), side: side, channels: 2, newSide: newSide)
            #expect(largestDifference(resized, floats(each["resized"])) < 1e-5)
        }
    }

    @Test func positionsThatDoNotMatchTheImagesAreRefused() throws {
        let rule = PositionRule.multimodal(imageTokenID: 9, mergeSize: 2)
        let image = ProcessedImage(pixels: [], dimensions: [8, 4], grid: [1, 2, 4], tokenCount: 2)
        let (positions, next) = try rule.positions(tokenIDs: [1, 9, 9, 3], images: [image])
        #expect(positions == [[0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 2, 3]] && next == 4)
        for (tokens, images) in [([1, 9, 3], [image]), ([1, 9, 9], []), ([1, 2], [image]), ([9, 9, 9], [image])] {
            let error = #expect(throws: ModelError.self) {
                try rule.positions(tokenIDs: tokens.map { Int32($0) }, images: images)
            }
            #expect(error?.kind == .promptMismatch)
        }
    }

    /// Position tables made for other tiles, and features from before the last block.
    @Test func internVLTowerVariants() throws {
        let fixture = try Golden("internvl")
        for each in try golden("towers") {
            let size = try #require(each["size"]?.intValue)
            let changes = try #require(each["changes"]?.objectValue)
            let side = size / 28
            let checkpoint = try fixture.edited(
                { config in for (key, value) in changes { config[key] = value } },
                files: [
                    (
                        "preprocessor_config.json",
                        { $0["size"] = .object(JSONObject([("height", .integer(size)), ("width", .integer(size))])) }
                    ), ("processor_config.json", { $0["image_seq_length"] = .integer(side * side) }),
                ])
            let backend = ReferenceBackend()
            let runner = try ModelRunner(try ModelRegistry.load(checkpoint, backend: backend), backend: backend)
            let count = 2 * 3 * size * size
            let pixels = (0..<count).map { Float($0 * 7919 % 1009) / 504.5 - 1 }
            let image = ProcessedImage(pixels: pixels, dimensions: [2, 3, size, size], tokenCount: 2 * side * side)
            let features = try runner.encode([image]).flatMap { try runner.download($0) }
            #expect(relativeL2(features, floats(each["features"])) < 1e-5, "\(size) \(changes)")
        }
    }
}
