import Imaging
import JSON
import TestKit
import Testing

/// Resizing against torchvision 0.26 on uint8 tensors and against Pillow 12: every byte.
@Suite struct ResizeTests {
    @Test(arguments: ResampleLevel.allCases) func equalsTorchvisionAndPillow(level: ResampleLevel) throws {
        guard level.isAvailable else { return }
        for entry in try Manifest.section("resize") {
            let input = try entry.requireInts("input"), output = try entry.requireInts("output")
            let image = try pattern(width: input[0], height: input[1], seed: entry.requireInt("seed"))
            let expected = try #require(entry["sha256"]?.objectValue)
            #expect(expected.count == 7)
            for (key, digest) in expected {
                let parts = key.split(separator: "-").map(String.init)
                let filter = try #require(ResampleFilter(rawValue: parts[1]))
                let arithmetic: ResampleArithmetic = parts[0] == "torch" ? .torch : .pillow
                let resized = resize(
                    image, width: output[0], height: output[1], filter: filter, arithmetic: arithmetic, level: level)
                #expect(sha256(resized.pixels) == digest.stringValue, "\(input) to \(output), \(key), \(level)")
            }
        }
    }

    @Test func theSameSizeCopies() throws {
        let image = try pattern(width: 31, height: 17, seed: 3)
        #expect(resize(image, width: 31, height: 17, filter: .bicubic) == image)
    }
}
