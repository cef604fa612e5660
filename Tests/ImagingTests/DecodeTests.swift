import Imaging
import JSON
import TestKit
import Testing

/// Every decoded format against `load_image` of transformers 5.17.0: sizes and every byte.
@Suite struct DecodeTests {
    /// Pillow 12 reads these literals wrongly, so that no golden can say what they hold.
    @Test func oddLiteralsInRunLengthBitmaps() throws {
        var bytes = try fixture("bmp-rle4.bmp")
        let start = Int(bytes[10]) | Int(bytes[11]) << 8
        // 5 x 2 pixels; from the bottom: a literal of five, then a run of two and a literal of three.
        bytes.replaceSubrange(18..<26, with: [5, 0, 0, 0, 2, 0, 0, 0])
        bytes.replaceSubrange(start..., with: [0, 5, 0x12, 0x34, 0x50, 0, 0, 0, 2, 0x67, 0, 3, 0x89, 0xA0, 0, 0, 0, 1])
        let image = try ImageDecoder.decode(bytes)
        let palette = start - 64
        let expected = [6, 7, 8, 9, 10, 1, 2, 3, 4, 5].flatMap { index in
            [2, 1, 0].map { bytes[palette + 4 * index + $0] }
        }
        #expect(image.width == 5 && image.height == 2)
        #expect(image.pixels == expected)
    }

    @Test func everyFixtureEqualsPillow() throws {
        let entries = try Manifest.section("decode")
        #expect(entries.count > 120)
        for entry in entries {
            let name = try entry.requireString("file")
            let bytes = try fixture(name)
            #expect(sha256(bytes) == (try entry.requireString("fileSHA256")), "\(name) is not the file of the manifest")
            do {
                let image = try ImageDecoder.decode(bytes)
                #expect(image.width == (try entry.requireInt("width")), "\(name)")
                #expect(image.height == (try entry.requireInt("height")), "\(name)")
                #expect(sha256(image.pixels) == (try entry.requireString("sha256")), "\(name)")
            } catch {
                Issue.record("\(name): \(error)")
            }
        }
    }
}
