/// A size to resize a picture to, and the window of the result that is wanted; what of it lies outside is black.
package struct ResizeTarget: Sendable, Equatable {
    /// The size after resizing.
    package let width: Int
    package let height: Int
    /// The window: its corner in the resized picture, negative for a border, and its size.
    package let left: Int
    package let top: Int
    package let windowWidth: Int
    package let windowHeight: Int

    /// All of the resized picture.
    package init(width: Int, height: Int) {
        self.init(width: width, height: height, left: 0, top: 0, windowWidth: width, windowHeight: height)
    }

    private init(width: Int, height: Int, left: Int, top: Int, windowWidth: Int, windowHeight: Int) {
        precondition(width > 0 && height > 0 && windowWidth > 0 && windowHeight > 0, "a resize needs positive sizes")
        self.width = width
        self.height = height
        self.left = left
        self.top = top
        self.windowWidth = windowWidth
        self.windowHeight = windowHeight
    }

    /// A window of this size in the middle, cropping or bordering each axis; odd rests go to the right and the bottom.
    package func centered(width windowWidth: Int, height windowHeight: Int) -> ResizeTarget {
        // Integer division rounds toward zero, so borders are as divmod makes them and crops as `int(rest / 2)`.
        ResizeTarget(
            width: width, height: height, left: (width - windowWidth) / 2, top: (height - windowHeight) / 2,
            windowWidth: windowWidth, windowHeight: windowHeight)
    }

    /// Whether the window is the whole.
    package var isWhole: Bool { left == 0 && top == 0 && windowWidth == width && windowHeight == height }
}

/// Resizes and takes the window.
package func resize(
    _ image: RGBImage, to target: ResizeTarget, filter: ResampleFilter, arithmetic: ResampleArithmetic = .torch
) -> RGBImage {
    resize(image, width: target.width, height: target.height, filter: filter, arithmetic: arithmetic)
        .window(left: target.left, top: target.top, width: target.windowWidth, height: target.windowHeight)
}

extension RGBImage {
    /// The part of a picture from `left`, `top` on; what lies outside has the colour `fill`.
    package func window(left: Int, top: Int, width: Int, height: Int, fill: [UInt8] = [0, 0, 0]) -> RGBImage {
        precondition(width > 0 && height > 0 && fill.count == 3, "a window has a size and a colour of three channels")
        if left == 0, top == 0, width == self.width, height == self.height { return self }
        let columns = (left..<left + width).clamped(to: 0..<self.width)
        let rows = (top..<top + height).clamped(to: 0..<self.height)
        let blank = [UInt8]((0..<width).map { _ in fill }.joined())
        var pixels: [UInt8] = []
        pixels.reserveCapacity(3 * width * height)
        for y in top..<top + height {
            guard rows.contains(y), !columns.isEmpty else {
                pixels += blank
                continue
            }
            let start = 3 * (y * self.width + columns.lowerBound)
            pixels += blank[..<(3 * (columns.lowerBound - left))]
            pixels += self.pixels[start..<start + 3 * columns.count]
            pixels += blank[..<(3 * (left + width - columns.upperBound))]
        }
        return RGBImage(uncheckedWidth: width, height: height, pixels: pixels)
    }
}

extension ResampleTable {
    /// An axis that keeps its samples.
    static func identity(_ count: Int) -> ResampleTable {
        ResampleTable(
            starts: (0..<Int32(count)).map { $0 }, weights: (0..<count).flatMap { _ in [Int32(1) << 8, 0] }, taps: 2, precision: 8
        )
    }

    /// Outputs `range` of the axis; those it does not have are 0.
    func window(_ range: Range<Int>) -> ResampleTable {
        if range == 0..<starts.count { return self }
        let blank = [Int32](repeating: 0, count: taps)
        return ResampleTable(
            starts: range.map { starts.indices.contains($0) ? starts[$0] : 0 },
            weights: range.flatMap { starts.indices.contains($0) ? Array(weights[$0 * taps..<($0 + 1) * taps]) : blank },
            taps: taps, precision: precision)
    }
}
