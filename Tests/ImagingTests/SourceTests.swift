import Foundation
import Imaging
import TestKit
import Testing

/// Paths, data URLs, bytes and pixels, and the errors of each.
@Suite struct SourceTests {
    private func failure(_ source: ImageSource, limits: ImageLimits = ImageLimits()) -> ImageError? {
        do throws(ImageError) {
            _ = try ImageLoader(limits: limits).loadBlocking(source, index: 2)
            return nil
        } catch {
            return error
        }
    }

    @Test func textBecomesAPathOrAnAddress() {
        #expect(ImageSource("a/b.png") == .path("a/b.png"))
        #expect(ImageSource("/a:b.png") == .path("/a:b.png"))
        #expect(ImageSource("C:/b.png") == .path("C:/b.png"))
        #expect(ImageSource("HTTPS://x/y") == .url("HTTPS://x/y"))
        #expect(ImageSource("file:/x") == .url("file:/x"))
        #expect(ImageSource("data:,x") == .url("data:,x"))
        #expect(ImageSource("ftp://x/y") == .url("ftp://x/y"))
    }

    @Test func readsFilesByPathAndAddress() async throws {
        let path = Fixtures.path("images/jpeg-420.jpg")
        let expected = try ImageDecoder.decode(fixture("jpeg-420.jpg"))
        let loader = ImageLoader()
        #expect(try await loader.load(.path(path)) == expected)
        #expect(try await loader.load(ImageSource("file://" + path)) == expected)
        #expect(
            try await loader.load(ImageSource("FILE://localhost" + path.replacingOccurrences(of: "-", with: "%2D"))) == expected)
        #expect(try await loader.load(.data(fixture("jpeg-420.jpg"))) == expected)
        #expect(try await loader.load(.image(expected)) == expected)
    }

    @Test func fileErrorsNameTheFile() throws {
        let missing = try #require(failure(.path("/nowhere/x.png")))
        #expect(missing.kind == .notFound)
        #expect(missing.description == "image 2 (/nowhere/x.png): there is no such file; check the path")
        #expect(failure(.path(Fixtures.root))?.kind == .unreadable)
        #expect(failure(.path("/dev/zero"))?.kind == .unreadable)
        #expect(failure(.url("file://elsewhere/x.png"))?.kind == .invalidURL)
        #expect(failure(.url("file:///a%zz.png"))?.kind == .invalidURL)
        let path = Fixtures.path("images/jpeg-420.jpg")
        #expect(failure(.path(path), limits: ImageLimits(maxBytes: 100))?.kind == .tooManyBytes)
        #expect(failure(.path(path), limits: ImageLimits(maxPixels: 100))?.kind == .tooManyPixels)
        #expect(failure(.path(path), limits: ImageLimits(allowLocal: false))?.kind == .forbidden)
        #expect(failure(.url("file://" + path), limits: ImageLimits(allowLocal: false))?.kind == .forbidden)
    }

    @Test func dataURLs() throws {
        let png = try fixture("png-1x1.png")
        let base64 = Data(png).base64EncodedString()
        let unpadded = base64.replacingOccurrences(of: "=", with: "")
        let wrapped = base64.enumerated().map { ($0.offset % 20 == 19 ? "\n" : "") + String($0.element) }.joined()
        for text in [
            "data:image/png;base64,\(base64)", "DATA:;base64,\(base64)",
            "data:image/png;name=a.png;charset=utf-8;base64,\(base64)",
            "data:image/png;base64,\(unpadded)", "data:image/png;BASE64,\(wrapped)",
            "data:image/png;base64,\(base64.replacingOccurrences(of: "=", with: "%3D").replacingOccurrences(of: "+", with: "%2B"))",
            "data:image/png," + png.map { "%" + String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined(),
        ] {
            #expect(try DataURL.decode(text) == png, "\(text.prefix(40))")
        }
        #expect(try DataURL.decode("data:,a%20b") == Array("a b".utf8))
        #expect(try DataURL.decode("data:;base64,") == [])
        for length in 0..<20 {
            let bytes = (0..<length).map { UInt8($0 * 37 % 256) }
            #expect(try DataURL.decode("data:;base64," + Data(bytes).base64EncodedString()) == bytes)
        }
        for text in [
            "data:image/png;base64", "data:;base64,A", "data:;base64,AB=", "data:;base64,AB==A", "data:;base64,AB-_",
            "data:;base64,AB\u{e9}=",
            "data:,%4", "data:,%zz", "data:;base64,====", "dat:,x",
        ] {
            #expect(throws: ImageError.self, "\(text)") { try DataURL.decode(text) }
        }
        #expect(throws: ImageError.self) {
            try DataURL.decode("data:;base64," + String(repeating: "A", count: 4000), limits: ImageLimits(maxBytes: 1000))
        }
    }

    @Test func longDataURLsAreShortenedInErrors() throws {
        let error = try #require(failure(.url("data:image/png;base64," + String(repeating: "A", count: 4000))))
        #expect(error.description.count < 300)
        #expect(error.description.contains("4022 characters"))
    }

    @Test func pixelsAreCheckedForTheirNumber() {
        #expect(throws: ImageError.self) { try RGBImage(width: 2, height: 2, pixels: [1, 2, 3]) }
        #expect(throws: ImageError.self) { try RGBImage(width: 0, height: 2, pixels: []) }
        #expect(throws: ImageError.self) { try RGBImage(width: Int.max, height: 2, pixels: []) }
    }
}
