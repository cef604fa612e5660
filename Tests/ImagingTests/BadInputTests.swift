import Imaging
import JSON
import TestKit
import Testing

/// Damaged, oversized and foreign files: one typed error each, and never a half-filled picture.
@Suite struct BadInputTests {
    private func failure(_ bytes: [UInt8], limits: ImageLimits = ImageLimits()) -> ImageError? {
        do throws(ImageError) {
            _ = try ImageDecoder.decode(bytes, limits: limits)
            return nil
        } catch {
            return error
        }
    }

    @Test func emptyAndForeignFiles() {
        #expect(failure([])?.kind == .empty)
        #expect(failure([1, 2, 3])?.kind == .unrecognized)
        let named: [(String, [UInt8])] = [
            ("TIFF", [0x49, 0x49, 0x2A, 0, 8, 0, 0, 0]), ("TIFF", [0x4D, 0x4D, 0, 0x2A, 0, 0, 0, 8]),
            ("HEIC", [0, 0, 0, 24] + Array("ftypheic".utf8)), ("AVIF", [0, 0, 0, 24] + Array("ftypavif".utf8)),
            ("JPEG XL", [0xFF, 0x0A, 0, 0]), ("PDF", Array("%PDF-1.7".utf8)),
            ("SVG", Array("<?xml version=\"1.0\"?>\n<svg>".utf8)),
            ("HTML", Array(" <!doctype HTML>".utf8)), ("Netpbm", Array("P6\n1 1\n255\n".utf8)), ("icon", [0, 0, 1, 0, 1, 0]),
        ]
        for (name, bytes) in named {
            let error = failure(bytes)
            #expect(error?.kind == .unsupported, "\(name)")
            #expect(error?.reason.contains(name) == true, "\(name): \(error?.reason ?? "")")
        }
    }

    /// Each file cut at many places: an error, or, where only bytes behind the pixels are missing, the same picture.
    @Test func truncatedFiles() throws {
        var cuts = 0, accepted = 0
        for entry in try Manifest.section("decode") {
            let name = try entry.requireString("file")
            let bytes = try fixture(name)
            let whole = try ImageDecoder.decode(bytes)
            for part in 0..<24 {
                let length = bytes.count * part / 24
                cuts += 1
                do throws(ImageError) {
                    let image = try ImageDecoder.decode(Array(bytes[..<length]))
                    accepted += 1
                    let isAnimated = name.contains("animated")
                    #expect(image.pixels == whole.pixels || image.width == whole.height || isAnimated, "\(name) cut to \(length)")
                } catch {
                    let kinds: [ImageError.Kind] = [.truncated, .corrupt, .empty, .unrecognized]
                    #expect(kinds.contains(error.kind), "\(name) cut to \(length): \(error)")
                }
            }
            let kind = failure(Array(bytes[..<(bytes.count / 2)]))?.kind
            let behind = ["animated", "exif", "xmp"].contains { name.contains($0) }
            #expect(kind == .truncated || (kind == nil && behind), "\(name) cut in half: \(String(describing: kind))")
        }
        #expect(accepted < cuts / 10)
    }

    @Test func jpegWithoutItsEndIsTruncated() throws {
        let bytes = try fixture("jpeg-420.jpg")
        #expect(failure(Array(bytes.dropLast(2)))?.kind == .truncated)
        #expect(failure(Array(try fixture("jpeg-420-progressive.jpg").dropLast(2)))?.kind == .truncated)
    }

    /// 30000x30000 pixels in a few bytes fail on the header, before memory is asked for.
    @Test func hugePicturesFailFast() throws {
        func big(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
        func little(_ value: Int) -> [UInt8] { big(value).reversed() }
        var png = try fixture("png-1x1.png")
        png.replaceSubrange(16..<24, with: big(30000) + big(30000))
        var gif = try fixture("gif-1x1.gif")
        gif.replaceSubrange(6..<10, with: Array(little(30000)[..<2] + little(30000)[..<2]))
        var bmp = try fixture("bmp-1x1.bmp")
        bmp.replaceSubrange(18..<26, with: little(30000) + little(30000))
        var jpeg = try fixture("jpeg-1x1.jpg")
        let frame = try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC0 })
        jpeg.replaceSubrange(frame + 5..<frame + 9, with: Array(big(30000)[2...] + big(30000)[2...]))
        let vp8x = Array("RIFF".utf8) + little(30) + Array("WEBPVP8X".utf8) + little(10) + [0x02, 0, 0, 0]
        let webp = vp8x + little(29999)[..<3] + little(29999)[..<3] + Array("ANIM".utf8)
        for (name, bytes) in [("png", png), ("gif", gif), ("bmp", bmp), ("jpeg", jpeg), ("webp", webp)] {
            let error = failure(bytes)
            #expect(error?.kind == .tooManyPixels, "\(name): \(String(describing: error))")
            #expect(error?.reason.contains("30000x30000") == true, "\(name)")
        }
        #expect(failure(png, limits: ImageLimits(maxPixels: 1 << 40))?.kind != .tooManyPixels)
    }

    /// 90 million pixels in one row pass the limit on pixels, and would need gigabytes of filter weights.
    @Test func endlessStripsAreRefused() throws {
        var png = try fixture("png-1x1.png")
        png.replaceSubrange(16..<24, with: [0x05, 0x5D, 0x4A, 0x80, 0, 0, 0, 1])
        #expect(failure(png)?.kind == .tooManyPixels)
    }

    @Test func onePixelWorks() throws {
        for name in ["jpeg-1x1.jpg", "png-1x1.png", "webp-1x1.webp", "gif-1x1.gif", "bmp-1x1.bmp"] {
            #expect(try ImageDecoder.decode(fixture(name)).pixels.count == 3, "\(name)")
        }
    }

    @Test func damagedChecksumsAreErrors() throws {
        var png = try fixture("png-scene.png")
        png[png.count / 2] ^= 1
        #expect(failure(png)?.kind == .corrupt)
    }

    /// A progressive JPEG may repeat scans without end; each costs a pass over all pixels.
    @Test func endlessScansAreRefused() throws {
        let bytes = try fixture("jpeg-gray-progressive.jpg")
        let last = try #require(bytes.indices.dropLast().last { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xDA })
        let scan = bytes[last..<(bytes.count - 2)]
        var bomb = Array(bytes.dropLast(2))
        for _ in 0..<400 { bomb += scan }
        bomb += [0xFF, 0xD9]
        #expect(failure(bomb)?.kind == .unsupported)
    }
}
