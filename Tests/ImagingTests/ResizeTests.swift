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

    @Test func floatPlanesEqualPyTorch() throws {
        let bytes = try fixture("resize-float.bin")
        let expected = bytes.withUnsafeBytes { raw in
            (0..<raw.count / 4).map {
                Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
            }
        }
        let entries = try Manifest.section("resizeFloat")
        #expect(entries.count == 20)
        for entry in entries {
            let input = try entry.requireInts("input"), output = try entry.requireInts("output")
            let image = try pattern(width: input[0], height: input[1], seed: 50)
            let area = input[0] * input[1]
            let planes = (0..<3 * area).map { Float(image.pixels[$0 % area * 3 + $0 / area]) / 128 - 1 }
            let resized = resizeFloat(
                planes, channels: 3, width: input[0], height: input[1], outputWidth: output[0], outputHeight: output[1],
                filter: try entry.requireString("filter") == "bilinear" ? .bilinear : .bicubic,
                antialias: entry["antialias"]?.boolValue == true)
            let offset = try entry.requireInt("offset") / 4
            #expect(resized.count == (try entry.requireInt("count")))
            let worst = zip(resized, expected[offset...]).map { abs($0 - $1) }.max() ?? 1
            #expect(worst < 2e-6, "\(entry)")
        }
    }
}
