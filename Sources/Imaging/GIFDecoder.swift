/// The first frame of a GIF, on the canvas that Pillow gives it: what the frame does not cover has the transparent index if
/// there is one, else index 0. Transparency itself is dropped.
enum GIFDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, limits: ImageLimits) throws(ImageError) -> RGBImage {
        var reader = ByteReader(bytes, at: 6)
        guard let screenWidth = reader.little16(), let screenHeight = reader.little16(), let flags = reader.byte(),
            reader.take(2) != nil
        else { throw .truncated("the GIF header is incomplete") }
        var palette = Palette.ramp
        if flags & 0x80 != 0 { palette = try readPalette(&reader, flags: flags) }

        let frame = try findFrame(&reader)
        // A frame larger than the screen enlarges it.
        let width = max(screenWidth, frame.left + frame.width), height = max(screenHeight, frame.top + frame.height)
        guard frame.width > 0, frame.height > 0 else { throw .corrupt("the GIF's first frame has no pixels") }
        try limits.check(width: width, height: height)
        if frame.flags & 0x80 != 0 { palette = try readPalette(&reader, flags: frame.flags) }

        guard let minimumBits = reader.byte() else { throw .truncated("the GIF ends before its pixels") }
        guard (1...11).contains(minimumBits) else { throw .corrupt("the GIF states a code size of \(minimumBits) bits") }
        let indices = try decompress(&reader, minimumBits: Int(minimumBits), count: frame.width * frame.height)

        var pixels = [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, initialized in
            let background = palette.color(frame.transparent ?? 0)
            for pixel in 0..<width * height {
                target[3 * pixel] = background.0
                target[3 * pixel + 1] = background.1
                target[3 * pixel + 2] = background.2
            }
            initialized = width * height * 3
        }
        for (row, y) in rowOrder(frame.height, interlaced: frame.flags & 0x40 != 0).enumerated() {
            var target = ((frame.top + y) * width + frame.left) * 3
            for index in indices[row * frame.width..<(row + 1) * frame.width] {
                let color = palette.color(index)
                pixels[target] = color.0
                pixels[target + 1] = color.1
                pixels[target + 2] = color.2
                target += 3
            }
        }
        return RGBImage(uncheckedWidth: width, height: height, pixels: pixels)
    }

    private struct Frame {
        let left: Int, top: Int, width: Int, height: Int
        let flags: UInt8
        let transparent: UInt8?
    }

    /// Skips extensions up to the first frame, noting the transparent index.
    private static func findFrame(_ reader: inout ByteReader) throws(ImageError) -> Frame {
        var transparent: UInt8?
        while let introducer = reader.byte() {
            switch introducer {
            case UInt8(ascii: ","):
                guard let left = reader.little16(), let top = reader.little16(), let width = reader.little16(),
                    let height = reader.little16(), let flags = reader.byte()
                else { throw .truncated("the GIF's first frame is incomplete") }
                return Frame(left: left, top: top, width: width, height: height, flags: flags, transparent: transparent)
            case UInt8(ascii: "!"):
                let label = reader.byte()
                var isFirst = true
                while let size = reader.byte(), size > 0 {
                    guard let block = reader.take(Int(size)) else { throw .truncated("a GIF extension is incomplete") }
                    if label == 0xF9, isFirst, block.count >= 4, block[0] & 1 != 0 { transparent = block[3] }
                    isFirst = false
                }
            case UInt8(ascii: ";"):
                throw .corrupt("the GIF holds no frame")
            default:
                continue
            }
        }
        throw .truncated("the GIF ends before its first frame")
    }

    private static func readPalette(_ reader: inout ByteReader, flags: UInt8) throws(ImageError) -> Palette {
        let count = 2 << Int(flags & 7)
        guard let bytes = reader.take(3 * count) else { throw .truncated("the GIF's palette is incomplete") }
        return Palette(bytes, count: count, stride: 3, red: 0, green: 1, blue: 2)
    }

    private static func rowOrder(_ height: Int, interlaced: Bool) -> [Int] {
        guard interlaced else { return Array(0..<height) }
        return [(0, 8), (4, 8), (2, 4), (1, 2)].flatMap { Array(stride(from: $0.0, to: height, by: $0.1)) }
    }

    /// LZW as GIF packs it: codes grow from `minimumBits + 1` to 12 bits, least significant bit first, in blocks of at most
    /// 255 bytes.
    private static func decompress(
        _ reader: inout ByteReader, minimumBits: Int, count: Int
    ) throws(ImageError) -> [UInt8] {
        let clear = 1 << minimumBits, end = clear + 1
        // Entry: the code it extends, its last index, and its length. Entries up to `end` stand for themselves.
        var prefix = [UInt16](repeating: 0, count: 4096)
        var suffix = [UInt8](repeating: 0, count: 4096)
        var length = [Int](repeating: 1, count: 4096)
        for code in 0..<min(clear, 256) { suffix[code] = UInt8(code) }

        var output = [UInt8](repeating: 0, count: count)
        var written = 0
        var next = end + 1, bits = minimumBits + 1, previous = -1
        var pool = 0, pooled = 0, block = 0
        while written < count {
            while pooled < bits {
                if block == 0 {
                    guard let size = reader.byte() else { throw .truncated("the GIF's pixels end early") }
                    guard size > 0 else { throw .truncated("the GIF's pixels end early") }
                    block = Int(size)
                }
                guard let byte = reader.byte() else { throw .truncated("the GIF's pixels end early") }
                block -= 1
                pool |= Int(byte) << pooled
                pooled += 8
            }
            let code = pool & (1 << bits - 1)
            pool >>= bits
            pooled -= bits

            if code == clear {
                next = end + 1
                bits = minimumBits + 1
                previous = -1
                continue
            }
            if code == end { throw .truncated("the GIF's pixels end early") }
            guard code < next || (code == next && previous >= 0), code < 4096 else {
                throw .corrupt("the GIF's pixels refer to a code that does not exist")
            }
            guard previous >= 0 || code < clear else { throw .corrupt("the GIF's pixels start with a code that does not exist") }

            // The new entry is the previous string and the first index of this one, which may be the new entry itself.
            if previous >= 0, next < 4096 {
                var first = code == next ? previous : code
                while first > end { first = Int(prefix[first]) }
                prefix[next] = UInt16(previous)
                suffix[next] = suffix[first]
                length[next] = length[previous] + 1
                next += 1
                if next == 1 << bits, bits < 12 { bits += 1 }
            }
            // Strings are written from their end; what lies past the picture is not.
            let size = length[code]
            var position = written + size - 1, walk = code
            while position >= written {
                if position < count { output[position] = suffix[walk] }
                walk = Int(prefix[walk])
                position -= 1
            }
            written += size
            previous = code
        }
        return output
    }
}

/// Up to 256 colours; an index past the last is black, as Pillow fills up.
struct Palette {
    private var colors: [(UInt8, UInt8, UInt8)]

    /// Each index is its own gray, for files without a palette.
    static let ramp = Palette(colors: (0...255).map { (UInt8($0), UInt8($0), UInt8($0)) })

    private init(colors: [(UInt8, UInt8, UInt8)]) { self.colors = colors }

    /// Reads `count` entries of `stride` bytes. A palette in which every index is its own gray means gray samples, so that
    /// indices past its end are gray as well.
    init(_ bytes: UnsafeRawBufferPointer, count: Int, stride: Int, red: Int, green: Int, blue: Int) {
        colors = [(UInt8, UInt8, UInt8)](repeating: (0, 0, 0), count: 256)
        var isRamp = true
        for index in 0..<min(count, 256) where (index + 1) * stride <= bytes.count {
            let base = index * stride
            colors[index] = (bytes[base + red], bytes[base + green], bytes[base + blue])
            let gray = UInt8(index)
            if colors[index] != (gray, gray, gray) { isRamp = false }
        }
        if isRamp, count * stride <= bytes.count { self = .ramp }
    }

    func color(_ index: UInt8) -> (UInt8, UInt8, UInt8) { colors[Int(index)] }
}
