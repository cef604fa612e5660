import CImageCodecs

/// JPEG through libjpeg: baseline, progressive, gray, RGB, YCbCr, CMYK and YCCK.
enum JPEGDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, limits: ImageLimits) throws(ImageError) -> RGBImage {
        let header = try CodecGlue.header(bytes, limits: limits, read: cimage_jpeg_header)
        let data = bytes.bindMemory(to: UInt8.self)
        let pixels = try CodecGlue.pixels(width: Int(header.width), height: Int(header.height)) { target in
            cimage_jpeg_decode(data.baseAddress, data.count, target, header.width, header.height)
        }
        let image = RGBImage(uncheckedWidth: Int(header.width), height: Int(header.height), pixels: pixels)
        return image.oriented(orientation(bytes))
    }

    /// The orientation in the application segments ahead of the first scan.
    ///
    /// As Pillow reads them: EXIF segments are joined, and of several XMP segments the last counts.
    static func orientation(_ bytes: UnsafeRawBufferPointer) -> Orientation {
        var exif: [UInt8] = []
        var xmp: UnsafeRawBufferPointer?
        var reader = ByteReader(bytes, at: 2)
        while let byte = reader.byte() {
            guard byte == 0xFF else { continue }
            var marker = reader.byte()
            while marker == 0xFF { marker = reader.byte() }
            guard let marker, marker != 0xDA, marker != 0xD9 else { break }
            // A stuffed zero and the markers without a body.
            if marker == 0 || marker == 1 || (0xD0...0xD8).contains(marker) { continue }
            guard let length = reader.big16(), length >= 2, let body = reader.take(length - 2) else { break }
            guard marker == 0xE1 else { continue }
            if body.holds(Orientation.exifPrefix) {
                exif += exif.isEmpty ? Array(body) : Array(body.dropFirst(Orientation.exifPrefix.count))
            } else if body.holds("http://ns.adobe.com/xap/1.0/\0") {
                xmp = body
            }
        }
        return exif.withUnsafeBytes { Orientation(exif: $0, xmp: xmp) }
    }
}
