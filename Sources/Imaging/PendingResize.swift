/// The fixed-point filter of one axis of a resize: sample i of the axis becomes
/// `clip((2^(precision - 1) + Σ weights[i, k] · input[starts[i] + k]) >> precision)`; weights past the last input sample are 0.
package struct ResampleTable: Sendable, Equatable {
    package let starts: [Int32]
    /// `[starts.count, taps]`
    package let weights: [Int32]
    package let taps: Int
    package let precision: Int
}

/// A decoded picture and what is to become of it, for a device that resizes faster than the host: exactly as `resize` does, the horizontal
/// axis first, rounded to bytes between the axes.
package struct PendingResize: Sendable, Equatable {
    package struct Target: Sendable, Equatable {
        package let width: Int
        package let height: Int
        /// nil where the axis stays as it is.
        package let horizontal: ResampleTable?
        package let vertical: ResampleTable?
    }

    package let source: RGBImage
    package let targets: [Target]
    private let wanted: [ResizeTarget]
    private let filter: ResampleFilter
    private let arithmetic: ResampleArithmetic

    /// Whether another resize does the same to a picture of the same size, whatever its pixels.
    package func isSameWork(as other: PendingResize) -> Bool {
        filter == other.filter && arithmetic == other.arithmetic && targets == other.targets
    }

    /// - Returns: nil when there is nothing to do, when `resize` goes another way for these sizes, or when the work takes more than
    ///   `byteLimit` bytes beside its results.
    package init?(
        _ source: RGBImage, targets wanted: [ResizeTarget], filter: ResampleFilter, arithmetic: ResampleArithmetic,
        byteLimit: Int
    ) {
        let isSized = wanted.allSatisfy { $0.isWhole && $0.width == source.width && $0.height == source.height }
        let isTall = arithmetic == .pillow && source.height > source.width * 100
        guard !isSized, !isTall, filter != .nearest else { return nil }
        self.source = source
        self.wanted = wanted
        self.filter = filter
        self.arithmetic = arithmetic
        // A window is part of an axis' table, with rows of zeros for its border.
        func axis(_ input: Int, _ output: Int, _ window: Range<Int>) -> ResampleTable? {
            if input == output { return window == 0..<input ? nil : ResampleTable.identity(input).window(window) }
            return ResampleAxis(input: input, output: output, filter: filter, arithmetic: arithmetic).table.window(window)
        }
        // Sizes first: tables of sizes that do not fit would be for nothing.
        guard wanted.allSatisfy({ 3 * source.height * (source.width + $0.windowWidth) <= byteLimit }) else { return nil }
        targets = wanted.map {
            Target(
                width: $0.windowWidth, height: $0.windowHeight,
                horizontal: axis(source.width, $0.width, $0.left..<$0.left + $0.windowWidth),
                vertical: axis(source.height, $0.height, $0.top..<$0.top + $0.windowHeight))
        }
        guard byteCount <= byteLimit else { return nil }
    }

    /// Bytes of the source and of the largest work between the axes.
    package var byteCount: Int {
        let work = targets.map { target in
            (target.horizontal == nil ? 0 : 3 * source.height * target.width)
                + [target.horizontal, target.vertical].reduce(0) {
                    $0 + 4 * (($1?.starts.count ?? 0) + ($1?.weights.count ?? 0)) + 512
                }
        }
        return source.pixels.count + (work.max() ?? 0)
    }

    /// The pictures, resized here.
    package var pictures: [RGBImage] {
        wanted.map { resize(source, to: $0, filter: filter, arithmetic: arithmetic) }
    }
}
