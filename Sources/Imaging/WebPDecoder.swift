import CImageCodecs

/// WebP through libwebp: lossy, lossless, with alpha (dropped), and the first frame of an animation.
enum WebPDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, limits: ImageLimits) throws(ImageError) -> RGBImage {
        let header = try CodecGlue.header(bytes, limits: limits, read: cimage_webp_header)
        let image: RGBImage
        if header.animated != 0 {
            image = try firstFrame(bytes, width: Int(header.width), height: Int(header.height), limits: limits)
        } else {
            image = try still(bytes, header)
        }
        let exif = chunk("EXIF", in: bytes), xmp = chunk("XMP ", in: bytes)
        return image.oriented(Orientation(exif: exif ?? UnsafeRawBufferPointer(start: nil, count: 0), xmp: xmp))
    }

    private static func still(_ bytes: UnsafeRawBufferPointer, _ header: cimage_header) throws(ImageError) -> RGBImage {
        let data = bytes.bindMemory(to: UInt8.self)
        let pixels = try CodecGlue.pixels(width: Int(header.width), height: Int(header.height)) { target in
            cimage_webp_decode(data.baseAddress, data.count, target, header.width, header.height)
        }
        return RGBImage(uncheckedWidth: Int(header.width), height: Int(header.height), pixels: pixels)
    }

    /// The first ANMF frame on a black canvas, as libwebp's animation decoder starts with.
    private static func firstFrame(
        _ bytes: UnsafeRawBufferPointer, width: Int, height: Int, limits: ImageLimits
    ) throws(ImageError) -> RGBImage {
        guard let frame = chunk("ANMF", in: bytes), frame.count > 16 else {
            throw .truncated("the animated WebP holds no complete frame")
        }
        func little24(_ offset: Int) -> Int {
            Int(frame[offset]) | Int(frame[offset + 1]) << 8 | Int(frame[offset + 2]) << 16
        }
        let left = 2 * little24(0), top = 2 * little24(3)
        let frameWidth = 1 + little24(6), frameHeight = 1 + little24(9)
        guard left + frameWidth <= width, top + frameHeight <= height else {
            throw .corrupt("a frame reaches beyond the animated WebP's canvas")
        }
        // The frame's chunks become a file of their own, which libwebp reads as a still picture.
        var file = Array("RIFF".utf8) + littleEndian(4 + 18 + frame.count - 16) + Array("WEBP".utf8)
        let alpha: UInt8 = frame.holds("ALPH", at: 16) ? 0x10 : 0
        file += Array("VP8X".utf8) + littleEndian(10) + [alpha, 0, 0, 0]
        file += littleEndian(frameWidth - 1).prefix(3) + littleEndian(frameHeight - 1).prefix(3)
        file += frame.dropFirst(16)
        let picture = try file.withUnsafeBytes { file in
            Result<RGBImage, ImageError> { () throws(ImageError) in
                try still(file, CodecGlue.header(file, limits: limits, read: cimage_webp_header))
            }
        }.get()
        guard picture.width == frameWidth, picture.height == frameHeight else {
            throw .corrupt("a frame of the animated WebP has another size than it states")
        }
        if frameWidth == width, frameHeight == height { return picture }
        var canvas = [UInt8](repeating: 0, count: width * height * 3)
        for y in 0..<frameHeight {
            let target = ((top + y) * width + left) * 3, source = y * frameWidth * 3
            canvas.replaceSubrange(target..<target + frameWidth * 3, with: picture.pixels[source..<source + frameWidth * 3])
        }
        return RGBImage(uncheckedWidth: width, height: height, pixels: canvas)
    }

    private static func littleEndian(_ value: Int) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    /// The body of the first top-level chunk with this name.
    private static func chunk(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var reader = ByteReader(bytes, at: 12)
        while let tag = reader.take(4), let length = reader.little32() {
            guard let body = reader.take(length) else { return nil }
            if tag.holds(name) { return body }
            reader.offset += length & 1
        }
        return nil
    }
}
