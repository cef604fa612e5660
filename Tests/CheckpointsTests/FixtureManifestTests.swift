import Checkpoints
import Foundation
import JSON
import TestKit
import Testing

@Suite struct FixtureManifestTests {
    @Test func hashesAreThoseOfTheStandard() {
        #expect(sha256([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(sha256(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            sha256(Array(repeating: UInt8(ascii: "a"), count: 1_000_000))
                == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    /// Goldens are trusted only as the generator wrote them: a changed, missing or extra file is a mistake.
    @Test func modelFixturesAreWhatTheGeneratorWrote() throws {
        let manifest = try ConfigReader(contentsOf: Fixtures.path("models/manifest.json"))
        #expect(try manifest.object("versions").string("transformers") == "5.17.0")
        let hashes = try manifest.object("sha256").object
        let root = Fixtures.path("models")
        let found = try FileManager.default.subpathsOfDirectory(atPath: root).filter { path in
            var isDirectory: ObjCBool = false
            return FileManager.default.fileExists(atPath: root + "/" + path, isDirectory: &isDirectory) && !isDirectory.boolValue
        }
        #expect(Set(found) == Set(hashes.keys + ["manifest.json"]))
        let command = try manifest.string("command")
        for (path, hash) in hashes {
            #expect(
                try sha256(Fixtures.bytes("models/" + path)) == hash.stringValue,
                "\(path) differs; run \(command)")
        }
    }
}
