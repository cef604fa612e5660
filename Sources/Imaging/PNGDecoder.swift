import CImageCodecs

/// PNG through libpng: every colour type and depth, interlaced or not. The alpha channel and tRNS are dropped.
enum PNGDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, limits: ImageLimits) throws(ImageError) -> RGBImage {
        let header = try CodecGlue.header(bytes, limits: limits, read: cimage_png_header)
        let data = bytes.bindMemory(to: UInt8.self)
        var exif = cimage_blob()
        var rawEXIF = cimage_blob()
        var xmp = cimage_blob()
        defer {
            cimage_release(&exif)
            cimage_release(&rawEXIF)
            cimage_release(&xmp)
        }
        let pixels = try CodecGlue.pixels(width: Int(header.width), height: Int(header.height)) { target in
            cimage_png_decode(data.baseAddress, data.count, target, header.width, header.height, &exif, &rawEXIF, &xmp)
        }
        let image = RGBImage(uncheckedWidth: Int(header.width), height: Int(header.height), pixels: pixels)
        let xmpBytes = UnsafeRawBufferPointer(start: xmp.bytes, count: xmp.count)
        let profile = exif.count > 0 ? [] : bytesOfProfile(UnsafeRawBufferPointer(start: rawEXIF.bytes, count: rawEXIF.count))
        let orientation = profile.withUnsafeBytes { profile in
            Orientation(
                exif: exif.count > 0 ? UnsafeRawBufferPointer(start: exif.bytes, count: exif.count) : profile, xmp: xmpBytes)
        }
        return image.oriented(orientation)
    }

    /// ImageMagick's "Raw profile type exif": an empty line, a name, a length, then hexadecimal digits over many lines.
    static func bytesOfProfile(_ text: UnsafeRawBufferPointer) -> [UInt8] {
        var lines = 0
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text {
            if lines < 3 {
                if character == UInt8(ascii: "\n") { lines += 1 }
                continue
            }
            guard let digit = Character(UnicodeScalar(character)).hexDigitValue else {
                if character <= 0x20 { continue }
                return []
            }
            if let first = high {
                bytes.append(first << 4 | UInt8(digit))
                high = nil
            } else {
                high = UInt8(digit)
            }
        }
        return bytes
    }
}
