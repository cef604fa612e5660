import Imaging
import JSON
import TestKit
import Testing

/// The picture that `Tools/goldens/images/pictures.py` makes by the same name: ramps, edges and noise.
func pattern(width: Int, height: Int, seed: Int) throws -> RGBImage {
    var pixels = [UInt8](repeating: 0, count: width * height * 3)
    for y in 0..<height {
        for x in 0..<width {
            for c in 0..<3 {
                var value = (UInt64(x) * 73_856_093 + UInt64(y) * 19_349_663 + UInt64(c) * 83_492_791) & 0xFFFF_FFFF
                value = (value + UInt64(seed) * 2_654_435_761) & 0xFFFF_FFFF
                value = ((value ^ (value >> 13)) &* 1_540_483_477) & 0xFFFF_FFFF
                value = (value ^ (value >> 15)) & 0xFFFF_FFFF
                let sample: Int
                switch (x / 16 + y / 16 + seed) % 3 {
                case 0: sample = Int(value >> 24)
                case 1: sample = (x * 3 + y * 5 + c * 80) & 255
                default: sample = ((x / 7 + y / 5) & 1) * 255
                }
                pixels[(y * width + x) * 3 + c] = UInt8(sample)
            }
        }
    }
    return try RGBImage(width: width, height: height, pixels: pixels)
}

/// `manifest.json` of the image fixtures.
enum Manifest {
    static func section(_ name: String) throws -> [JSONValue] {
        let manifest = try Fixtures.json("images/manifest.json")
        return try #require(manifest[name]?.arrayValue, "the manifest has no section \(name)")
    }
}

extension JSONValue {
    func requireInt(_ key: String) throws -> Int { try #require(self[key]?.intValue, "no \(key)") }
    func requireString(_ key: String) throws -> String { try #require(self[key]?.stringValue, "no \(key)") }
    func requireInts(_ key: String) throws -> [Int] {
        try #require(self[key]?.arrayValue, "no \(key)").map { try #require($0.intValue) }
    }
}

func fixture(_ name: String) throws -> [UInt8] { try Fixtures.bytes("images/" + name) }

/// Numbers as NumPy's "<f4" stores them, for digests.
func littleEndian(_ values: [Float]) -> [UInt8] {
    values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
}
