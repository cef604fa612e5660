import CImageKernels

/// How the stored rows and columns relate to the picture as it should be seen: EXIF tag 274.
package enum Orientation: Int, Sendable, CaseIterable {
    case upright = 1
    case mirrored = 2
    case upsideDown = 3
    case flipped = 4
    case transposed = 5
    case turnedRight = 6
    case transversed = 7
    case turnedLeft = 8

    static let exifPrefix: [UInt8] = [0x45, 0x78, 0x69, 0x66, 0, 0]

    /// The orientation that EXIF states, else the one that XMP states, else upright; as `PIL.Image.getexif` looks for it.
    package init(exif: UnsafeRawBufferPointer, xmp: UnsafeRawBufferPointer?) {
        if let stated = Self.tag(in: exif) {
            self = Orientation(rawValue: stated) ?? .upright
        } else if let xmp, let stated = Self.property(in: xmp) {
            self = Orientation(rawValue: stated) ?? .upright
        } else {
            self = .upright
        }
    }

    /// The value of tag 274 in the first directory of a TIFF structure; `nil` if there is none or it is malformed.
    private static func tag(in exif: UnsafeRawBufferPointer) -> Int? {
        var bytes = exif
        while bytes.holds(exifPrefix) { bytes = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(exifPrefix.count)) }
        let little: Bool
        if bytes.holds([0x49, 0x49, 0x2A, 0]) {
            little = true
        } else if bytes.holds([0x4D, 0x4D, 0, 0x2A]) {
            little = false
        } else {
            return nil
        }
        var reader = ByteReader(bytes, at: 4)
        func short(_ reader: inout ByteReader) -> Int? { little ? reader.little16() : reader.big16() }
        func long(_ reader: inout ByteReader) -> Int? { little ? reader.little32() : reader.big32() }
        guard let start = long(&reader) else { return nil }
        reader.offset = start
        guard let entries = short(&reader) else { return nil }
        var value: Int?
        for _ in 0..<entries {
            guard let tag = short(&reader), let type = short(&reader), let count = long(&reader) else { break }
            var field = reader
            guard reader.take(4) != nil else { break }
            guard tag == 274, count == 1 else { continue }
            // SHORT and SSHORT, LONG and SLONG; Pillow gives other types as values that name no orientation.
            switch type {
            case 3, 8: value = short(&field)
            case 4, 9: value = long(&field)
            default: value = 0
            }
        }
        return value
    }

    /// The digit after `tiff:Orientation="` or `tiff:Orientation>` in XMP.
    private static func property(in xmp: UnsafeRawBufferPointer) -> Int? {
        let name = Array("tiff:Orientation".utf8)
        guard xmp.count > name.count else { return nil }
        for start in 0..<(xmp.count - name.count) where xmp[start] == name[0] && xmp.holds(name, at: start) {
            var reader = ByteReader(xmp, at: start + name.count)
            guard let separator = reader.byte() else { continue }
            if separator == UInt8(ascii: "=") {
                guard reader.byte() == UInt8(ascii: "\"") else { continue }
            } else if separator != UInt8(ascii: ">") {
                continue
            }
            guard let digit = reader.byte(), (0x30...0x39).contains(digit) else { continue }
            return Int(digit) - 0x30
        }
        return nil
    }
}

extension RGBImage {
    /// The picture as it should be seen.
    package func oriented(_ orientation: Orientation) -> RGBImage {
        let w = width, h = height
        // The source pixel of (x, y) is origin + x * right + y * down.
        let origin: Int, right: Int, down: Int
        switch orientation {
        case .upright: return self
        case .mirrored: (origin, right, down) = (w - 1, -1, w)
        case .upsideDown: (origin, right, down) = (w * h - 1, -1, -w)
        case .flipped: (origin, right, down) = ((h - 1) * w, 1, -w)
        case .transposed: (origin, right, down) = (0, w, 1)
        case .turnedRight: (origin, right, down) = ((h - 1) * w, -w, 1)
        case .transversed: (origin, right, down) = (w * h - 1, -w, -1)
        case .turnedLeft: (origin, right, down) = (w - 1, w, -1)
        }
        let swaps = orientation.rawValue >= Orientation.transposed.rawValue
        let outWidth = swaps ? h : w, outHeight = swaps ? w : h
        let turned = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, initialized in
            cik_prefer_large_pages(target.baseAddress, pixels.count)
            pixels.withUnsafeBufferPointer { source in
                // Square blocks keep both the rows read and the rows written in cache when axes are swapped.
                let block = 32
                for top in stride(from: 0, to: outHeight, by: block) {
                    for left in stride(from: 0, to: outWidth, by: block) {
                        for y in top..<min(top + block, outHeight) {
                            var from = (origin + left * right + y * down) * 3
                            var to = (y * outWidth + left) * 3
                            for _ in left..<min(left + block, outWidth) {
                                target[to] = source[from]
                                target[to + 1] = source[from + 1]
                                target[to + 2] = source[from + 2]
                                from += right * 3
                                to += 3
                            }
                        }
                    }
                }
            }
            initialized = pixels.count
        }
        return RGBImage(uncheckedWidth: outWidth, height: outHeight, pixels: turned)
    }
}
