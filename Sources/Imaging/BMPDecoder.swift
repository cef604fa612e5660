/// Windows and OS/2 bitmaps: 1, 4, 8, 16, 24 and 32 bits, palettes, run lengths, bit fields, bottom-up and top-down.
enum BMPDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, limits: ImageLimits) throws(ImageError) -> RGBImage {
        let header = try Header(bytes)
        try limits.check(width: header.width, height: header.height)
        switch (header.bits, header.compression) {
        case (1, 0), (4, 0), (8, 0): return try indexed(bytes, header)
        case (4, 2), (8, 1): return try runLength(bytes, header)
        case (16, 0), (16, 3): return try highColor(bytes, header)
        case (24, 0), (24, 3), (32, 0), (32, 3): return try trueColor(bytes, header)
        case (_, 4), (_, 5): throw .bmp("its pixels are an embedded JPEG or PNG")
        default: throw .bmp("\(header.bits) bits a pixel with compression \(header.compression)")
        }
    }

    private struct Header {
        let width: Int, height: Int, bits: Int, compression: Int
        let isTopDown: Bool
        let palette: Palette
        /// Red, green, blue; zero where the file states none.
        var masks = (0, 0, 0)
        let pixelOffset: Int

        /// Bytes from one row to the next.
        var stride: Int { ((width * bits + 31) >> 3) & ~3 }

        init(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
            var file = ByteReader(bytes, at: 10)
            guard let statedOffset = file.little32(), let size = file.little32(),
                var body = file.take(size - 4).map({ ByteReader($0) })
            else { throw .truncated("the BMP header is incomplete") }
            guard [12, 40, 52, 56, 64, 108, 124].contains(size) else { throw .bmp("a header of \(size) bytes") }
            let incomplete = ImageError.truncated("the BMP header is incomplete")
            var colors = 0
            if size == 12 {
                guard let width = body.little16(), let height = body.little16(), body.little16() != nil,
                    let bits = body.little16()
                else { throw incomplete }
                (self.width, self.height, self.bits, compression, isTopDown) = (width, height, bits, 0, false)
            } else {
                guard let width = body.little32(), let height = body.little32(), body.little16() != nil,
                    let bits = body.little16(), let compression = body.little32(), body.take(12) != nil,
                    let stated = body.little32()
                else { throw incomplete }
                // A negative height means that the top row comes first.
                isTopDown = height >> 24 == 0xFF
                self.width = width
                self.height = isTopDown ? 1 << 32 - height : height
                self.bits = bits
                self.compression = compression
                colors = stated
                if compression == 3 {
                    // Long headers hold the masks; after the 40-byte header they follow.
                    var source = size >= 52 ? ByteReader(body.bytes, at: 36) : file
                    guard let red = source.little32(), let green = source.little32(), let blue = source.little32()
                    else { throw incomplete }
                    masks = (red, green, blue)
                    if size < 52 { file = source }
                }
            }
            guard [1, 4, 8, 16, 24, 32].contains(bits) else { throw .bmp("\(bits) bits a pixel") }
            if colors == 0, bits <= 16 { colors = 1 << bits }
            let entry = size == 12 ? 3 : 4
            if bits <= 8 {
                guard colors <= 65536 else { throw .corrupt("the BMP states \(colors) colours") }
                let available = min(entry * colors, file.remaining)
                guard let palette = file.take(available) else { throw incomplete }
                self.palette = Palette(palette, count: colors, stride: entry, red: 2, green: 1, blue: 0)
            } else {
                palette = .ramp
            }
            if statedOffset == 0 {
                pixelOffset = file.offset
            } else if statedOffset == 14 + size, bits <= 8 {
                // Some writers forget to count the palette.
                pixelOffset = statedOffset + entry * colors
            } else {
                pixelOffset = statedOffset
            }
        }
    }

    /// Calls `fill` for each row from the picture's top with the stored row.
    private static func rows(
        _ bytes: UnsafeRawBufferPointer, _ header: Header,
        fill: (_ stored: UnsafeRawBufferPointer, _ target: UnsafeMutablePointer<UInt8>) -> Void
    ) throws(ImageError) -> RGBImage {
        let rowBytes = (header.width * header.bits + 7) / 8
        let needed = header.pixelOffset + header.stride * (header.height - 1) + rowBytes
        guard needed <= bytes.count else {
            throw .truncated("the BMP ends after \(bytes.count) of \(needed) bytes")
        }
        let count = header.width * header.height * 3
        let pixels = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
            guard let base = target.baseAddress else { return }
            for y in 0..<header.height {
                let stored = header.pixelOffset + header.stride * (header.isTopDown ? y : header.height - 1 - y)
                fill(UnsafeRawBufferPointer(rebasing: bytes[stored..<stored + rowBytes]), base + y * header.width * 3)
            }
            initialized = count
        }
        return RGBImage(uncheckedWidth: header.width, height: header.height, pixels: pixels)
    }

    private static func indexed(_ bytes: UnsafeRawBufferPointer, _ header: Header) throws(ImageError) -> RGBImage {
        let perByte = 8 / header.bits, mask = UInt8(truncatingIfNeeded: 1 << header.bits - 1)
        return try rows(bytes, header) { stored, target in
            for x in 0..<header.width {
                let shift = 8 - header.bits * (x % perByte + 1)
                let color = header.palette.color(stored[x / perByte] >> UInt8(shift) & mask)
                target[3 * x] = color.0
                target[3 * x + 1] = color.1
                target[3 * x + 2] = color.2
            }
        }
    }

    private static func highColor(_ bytes: UnsafeRawBufferPointer, _ header: Header) throws(ImageError) -> RGBImage {
        let hasSixGreenBits: Bool
        switch (header.compression, header.masks) {
        case (0, _), (_, (0x7C00, 0x3E0, 0x1F)): hasSixGreenBits = false
        case (_, (0xF800, 0x7E0, 0x1F)): hasSixGreenBits = true
        default: throw .bmp("these 16-bit colour masks")
        }
        return try rows(bytes, header) { stored, target in
            for x in 0..<header.width {
                let pixel = Int(stored[2 * x]) | Int(stored[2 * x + 1]) << 8
                // Scaled as Pillow does, rounding down.
                let red = hasSixGreenBits ? pixel >> 11 & 31 : pixel >> 10 & 31
                let green = hasSixGreenBits ? (pixel >> 5 & 63) * 255 / 63 : (pixel >> 5 & 31) * 255 / 31
                target[3 * x] = UInt8(red * 255 / 31)
                target[3 * x + 1] = UInt8(green)
                target[3 * x + 2] = UInt8((pixel & 31) * 255 / 31)
            }
        }
    }

    private static func trueColor(_ bytes: UnsafeRawBufferPointer, _ header: Header) throws(ImageError) -> RGBImage {
        var (red, green, blue) = (2, 1, 0)
        if header.compression == 3, header.masks != (0, 0, 0) {
            // Masks of whole bytes only; no writer is known to use others at 24 and 32 bits.
            func position(_ mask: Int) -> Int? { [0xFF, 0xFF00, 0xFF_0000, 0xFF00_0000].firstIndex(of: mask) }
            guard let r = position(header.masks.0), let g = position(header.masks.1), let b = position(header.masks.2),
                max(r, g, b) < header.bits / 8
            else { throw .bmp("these colour masks") }
            (red, green, blue) = (r, g, b)
        }
        let step = header.bits / 8
        return try rows(bytes, header) { stored, target in
            for x in 0..<header.width {
                target[3 * x] = stored[step * x + red]
                target[3 * x + 1] = stored[step * x + green]
                target[3 * x + 2] = stored[step * x + blue]
            }
        }
    }

    /// RLE8 and RLE4. What the data skips has index 0. Literals of odd length in RLE4 are read as the format has them, where
    /// Pillow 12 loses their last pixel.
    private static func runLength(_ bytes: UnsafeRawBufferPointer, _ header: Header) throws(ImageError) -> RGBImage {
        let width = header.width, count = width * header.height
        let isNibbles = header.bits == 4
        var reader = ByteReader(bytes, at: header.pixelOffset)
        var indices = [UInt8](repeating: 0, count: count)
        // Positions run through the rows as stored; a run ends with its row, a literal stretch need not.
        var position = 0, column = 0
        decoding: while position < count {
            guard let length = reader.byte(), let value = reader.byte() else {
                throw .truncated("the BMP's runs end early")
            }
            switch (length, value) {
            case (1..., _):
                let run = min(Int(length), max(0, width - column), count - position)
                for i in 0..<run {
                    indices[position + i] = !isNibbles ? value : i % 2 == 0 ? value >> 4 : value & 15
                }
                position += run
                column += run
            case (0, 0):
                position += (width - position % width) % width
                column = 0
            case (0, 1):
                break decoding
            case (0, 2):
                guard let right = reader.byte(), let rows = reader.byte() else { throw .truncated("the BMP's runs end early") }
                position += Int(right) + Int(rows) * width
                column = position % width
            default:
                let stored = isNibbles ? (Int(value) + 1) / 2 : Int(value)
                guard let literal = reader.take(stored) else { throw .truncated("the BMP's runs end early") }
                for i in 0..<min(Int(value), count - position) {
                    indices[position + i] = !isNibbles ? literal[i] : i % 2 == 0 ? literal[i / 2] >> 4 : literal[i / 2] & 15
                }
                position += Int(value)
                column += Int(value)
                if stored % 2 != 0 { _ = reader.byte() }
            }
        }
        var pixels = [UInt8](repeating: 0, count: count * 3)
        for y in 0..<header.height {
            let source = (header.isTopDown ? y : header.height - 1 - y) * width
            for x in 0..<width {
                let color = header.palette.color(indices[source + x]), target = (y * width + x) * 3
                pixels[target] = color.0
                pixels[target + 1] = color.1
                pixels[target + 2] = color.2
            }
        }
        return RGBImage(uncheckedWidth: width, height: header.height, pixels: pixels)
    }
}

extension ImageError {
    fileprivate static func bmp(_ variant: String) -> ImageError {
        ImageError(.unsupported, "the BMP has \(variant)", fix: "save it as PNG or as an ordinary 24-bit BMP")
    }
}
