import Imaging
import JSON
import TestKit
import Testing

/// 10,000 damaged inputs for every decoder: no crash, no hang, no absurd allocation, only typed errors.
@Suite struct FuzzTests {
    private static let limits = ImageLimits(maxBytes: 1 << 20, maxPixels: 20_000)

    /// Marks of the formats, and numbers that length and size fields rarely hold.
    private static let pieces: [[UInt8]] =
        [
            "IHDR", "PLTE", "tRNS", "IDAT", "IEND", "eXIf", "zTXt", "acTL", "fcTL", "VP8X", "VP8L", "VP8 ", "ALPH", "ANIM",
            "ANMF",
            "EXIF", "XMP ", "Exif\0\0II*\0", "Exif\0\0MM\0*", "Adobe\0", "tiff:Orientation=\"6", ",", "!", ";", "BM",
        ].map { Array($0.utf8) } + [
            [0], [0xFF], [0xFF, 0xFF], [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0x7F, 0xFF, 0xFF, 0xFF],
            [0xFF, 0xFF, 0xFF, 0x7F],
            [0x80, 0, 0, 0], [0, 0, 0, 0x80], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1], [0xFF, 0xC0], [0xFF, 0xC2], [0xFF, 0xC4],
            [0xFF, 0xD9], [0xFF, 0xDA], [0xFF, 0xDB], [0xFF, 0xDD], [0xFF, 0xE1], [0xFF, 0xEE], [0xFF, 0xD0],
        ]

    @Test(arguments: ["jpeg", "png", "webp", "gif", "bmp", "exif"]) func decoders(prefix: String) throws {
        let seeds = try Manifest.section("decode").map { try $0.requireString("file") }.filter { $0.hasPrefix(prefix) }
            .map(fixture).filter { $0.count < 6000 }
        #expect(seeds.count >= 5)
        var mutator = Mutator(seed: 20_260_101, pieces: Self.pieces)
        var decoded = 0
        for round in 0..<10_000 {
            var input = mutator.mutate(seeds[round % seeds.count])
            // Most damage to a PNG fails its checksums; with these repaired it reaches what lies behind them.
            if prefix == "png", round % 4 != 0 { repairChecksums(&input) }
            do throws(ImageError) {
                let image = try ImageDecoder.decode(input, limits: Self.limits)
                #expect(image.pixels.count == image.width * image.height * 3)
                #expect(image.width * image.height <= Self.limits.maxPixels)
                decoded += 1
            } catch {
                #expect(!error.reason.isEmpty)
            }
        }
        // Some damage goes unseen and some is found: neither would hold if the seeds or the mutator were broken.
        #expect(decoded > 200 && decoded < 9_500, "\(prefix): \(decoded) of 10000 decoded")
    }

    @Test func orientations() {
        // Two directories' worth of entries in either byte order, and XMP in both notations.
        let little: [UInt8] = [
            0x49, 0x49, 0x2A, 0, 8, 0, 0, 0, 2, 0, 0, 1, 4, 0, 1, 0, 0, 0, 9, 0, 0, 0, 18, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0,
        ]
        let big: [UInt8] = [0x4D, 0x4D, 0, 0x2A, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]
        let xmp = ["tiff:Orientation=\"6\"", "<tiff:Orientation>6</tiff:Orientation>"].map { Array($0.utf8) }
        func read(_ exif: [UInt8], _ xmp: [UInt8]) -> Orientation {
            exif.withUnsafeBytes { exif in xmp.withUnsafeBytes { Orientation(exif: exif, xmp: $0) } }
        }
        #expect(read(little, []) == .turnedRight && read(big, []) == .turnedRight)
        #expect(read([], xmp[0]) == .turnedRight && read([], xmp[1]) == .turnedRight)
        var mutator = Mutator(seed: 11, pieces: Self.pieces)
        var turned = 0
        for round in 0..<10_000 {
            let exif = mutator.mutate(round % 2 == 0 ? little : big)
            let property = mutator.mutate(xmp[round / 2 % 2])
            if read(exif, property) == .turnedRight { turned += 1 }
        }
        #expect(turned > 500 && turned < 9_500, "\(turned)")
    }

    @Test func dataURLs() throws {
        let seeds = [
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
            "data:image/gif;charset=utf-8,GIF89a%01%00%01%00%80%00%00%FF%FF%FF%00%00%00%2C%00%00%00%00%01%00%01%00%00%02%02D%01%00%3B",
            "data:,",
        ]
        var mutator = Mutator(seed: 7, dictionary: ["%", "%0", "=", "==", ";base64", ",", "data:", "\u{e9}", "\n"])
        let loader = ImageLoader(limits: Self.limits)
        var failed = 0
        for round in 0..<10_000 {
            let input = String(decoding: mutator.mutate(Array(seeds[round % seeds.count].utf8)), as: UTF8.self)
            do throws(ImageError) {
                _ = try DataURL.decode(input, limits: Self.limits)
                if input.hasPrefix("data:") { _ = try loader.loadBlocking(.url(input)) }
            } catch {
                failed += 1
            }
        }
        #expect(failed > 1_000 && failed < 10_000, "\(failed)")
    }

    /// Addresses whose parts two parsers might read differently.
    @Test func addresses() async {
        let limits = ImageLimits(maxRedirects: 0, timeoutSeconds: 0.001, allowRemote: false)
        var mutator = Mutator(seed: 13, dictionary: ["@", ":", "//", "\\", "[", "]", "%00", "#", "?", "\u{e9}", "..", " ", "\n"])
        var refused = 0
        for _ in 0..<10_000 {
            let bytes = mutator.mutate(Array("https://example.org:8080/a/b.png?c=d#e".utf8))
            let input = String(decoding: bytes, as: UTF8.self)
            do throws(ImageError) {
                _ = try ImageLoader(limits: limits).loadBlocking(.url(input))
                Issue.record("\(input) was loaded")
            } catch {
                if error.kind == .invalidURL { refused += 1 }
                #expect([.invalidURL, .forbidden, .notFound].contains(error.kind), "\(input): \(error)")
            }
        }
        #expect(refused > 1_000 && refused < 9_900, "\(refused)")
    }
}

/// Gives every chunk of a damaged PNG the checksum of what it now holds, as far as the chunks can be followed.
private func repairChecksums(_ png: inout [UInt8]) {
    var at = 8
    while at + 12 <= png.count {
        let length = png[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
        guard length <= png.count - at - 12 else { return }
        var remainder: UInt32 = 0xFFFF_FFFF
        for byte in png[at + 4..<at + 8 + length] {
            remainder ^= UInt32(byte)
            for _ in 0..<8 { remainder = remainder & 1 == 0 ? remainder >> 1 : remainder >> 1 ^ 0xEDB8_8320 }
        }
        for i in 0..<4 { png[at + 8 + length + i] = UInt8(truncatingIfNeeded: ~remainder >> (24 - 8 * UInt32(i))) }
        at += 12 + length
    }
}
