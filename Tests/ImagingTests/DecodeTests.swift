import Imaging
import JSON
import TestKit
import Testing

/// Every decoded format against `load_image` of transformers 5.17.0: sizes and every byte.
@Suite struct DecodeTests {
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
