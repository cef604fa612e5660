import CImageCodecs

/// Turns the bytes of a picture file into pixels.
///
/// The result equals `PIL.ImageOps.exif_transpose(PIL.Image.open(file)).convert("RGB")` byte for byte, which is what
/// transformers 5.17.0 `load_image` gives a processor: alpha is dropped and not composited, palettes are expanded, CMYK is
/// converted with Pillow's arithmetic.
package enum ImageDecoder {
    /// - Throws: ``ImageError``; sizes are checked against `limits` before pixels are allocated.
    package static func decode(_ bytes: [UInt8], limits: ImageLimits = ImageLimits()) throws(ImageError) -> RGBImage {
        guard !bytes.isEmpty else {
            throw ImageError(.empty, "it holds no bytes", fix: "check that the file was written or sent completely")
        }
        try limits.check(bytes: bytes.count)
        // A typed throw does not pass through withUnsafeBytes on every toolchain; a Result does.
        let result = bytes.withUnsafeBytes { buffer in
            Result<RGBImage, ImageError> { () throws(ImageError) in try decode(buffer, limits: limits) }
        }
        return try result.get()
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, limits: ImageLimits) throws(ImageError) -> RGBImage {
        switch ImageFormat(bytes) {
        case .jpeg: return try JPEGDecoder.decode(bytes, limits: limits)
        case .png: return try PNGDecoder.decode(bytes, limits: limits)
        case .webp: return try WebPDecoder.decode(bytes, limits: limits)
        case .gif: return try GIFDecoder.decode(bytes, limits: limits)
        case .bmp: return try BMPDecoder.decode(bytes, limits: limits)
        case .unsupported(let name):
            throw ImageError(.unsupported, "it is \(name), which is not decoded", fix: convert)
        case .unknown:
            throw ImageError(.unrecognized, "its first bytes belong to no known picture format", fix: convert)
        }
    }

    /// The pixels that decoding allocates, by the file's header; the most that `limits` allow where only decoding tells, and 0 for bytes that
    /// cannot be decoded.
    package static func pixelCount(_ bytes: [UInt8], limits: ImageLimits) -> Int {
        bytes.withUnsafeBytes { buffer in
            func pixels(_ read: CodecGlue.HeaderReader) -> Int {
                guard let header = try? CodecGlue.header(buffer, limits: limits, read: read) else { return 0 }
                return Int(header.width) * Int(header.height)
            }
            switch ImageFormat(buffer) {
            case .jpeg: return pixels(cimage_jpeg_header)
            case .png: return pixels(cimage_png_header)
            case .webp: return pixels(cimage_webp_header)
            case .gif, .bmp: return limits.maxPixels
            case .unsupported, .unknown: return 0
            }
        }
    }

    private static let convert = "convert it to JPEG, PNG, WebP, GIF or BMP"
}
