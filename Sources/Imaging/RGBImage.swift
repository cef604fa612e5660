/// A decoded picture: 8 bits a channel, red, green and blue.
///
/// Pixels are stored row by row from the top, `pixels[(y * width + x) * 3 + channel]`.
public struct RGBImage: Sendable, Equatable {
    /// Pixels in a row; at least 1.
    public let width: Int
    /// Rows; at least 1.
    public let height: Int
    /// [height, width, 3] bytes, without padding.
    public let pixels: [UInt8]

    /// Wraps pixels that are already decoded.
    ///
    /// - Parameter pixels: [height, width, 3] bytes.
    /// - Throws: ``ImageError`` if a side is not positive or the number of bytes is not `width * height * 3`.
    public init(width: Int, height: Int, pixels: [UInt8]) throws(ImageError) {
        guard width > 0, height > 0 else {
            throw ImageError(.invalidSize, "its size is \(width)x\(height)", fix: "give both sides at least one pixel")
        }
        let (area, overflow) = width.multipliedReportingOverflow(by: height)
        let (expected, overflowed) = area.multipliedReportingOverflow(by: 3)
        guard !overflow, !overflowed, pixels.count == expected else {
            throw ImageError(
                .invalidSize, "\(pixels.count) bytes were given for \(width)x\(height) pixels",
                fix: "give width * height * 3 bytes, red, green and blue of each pixel")
        }
        self.init(uncheckedWidth: width, height: height, pixels: pixels)
    }

    /// For pixels whose number is right by construction.
    package init(uncheckedWidth width: Int, height: Int, pixels: [UInt8]) {
        assert(width > 0 && height > 0 && pixels.count == width * height * 3)
        self.width = width
        self.height = height
        self.pixels = pixels
    }
}
