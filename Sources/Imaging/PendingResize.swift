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
        /// nil where the picture has the size already.
        package let horizontal: ResampleTable?
        package let vertical: ResampleTable?
    }

    package let source: RGBImage
    package let targets: [Target]
    private let filter: ResampleFilter
    private let arithmetic: ResampleArithmetic

    /// Whether another resize does the same to a picture of the same size, whatever its pixels.
    package func isSameWork(as other: PendingResize) -> Bool {
        filter == other.filter && arithmetic == other.arithmetic && targets == other.targets
    }

    /// - Returns: nil when there is nothing to do, when `resize` goes another way for these sizes, or when the work takes more than
    ///   `byteLimit` bytes beside its results.
    package init?(
        _ source: RGBImage, sizes: [(width: Int, height: Int)], filter: ResampleFilter, arithmetic: ResampleArithmetic,
        byteLimit: Int
    ) {
        let isSized = sizes.allSatisfy { $0.width == source.width && $0.height == source.height }
        let isTall = arithmetic == .pillow && source.height > source.width * 100
        guard !isSized, !isTall, filter != .nearest, sizes.allSatisfy({ $0.width > 0 && $0.height > 0 }) else { return nil }
        self.source = source
        self.filter = filter
        self.arithmetic = arithmetic
        let axis = { (input: Int, output: Int) in
            input == output
                ? nil : ResampleAxis(input: input, output: output, filter: filter, arithmetic: arithmetic).table
        }
        // Sizes first: tables of sizes that do not fit would be for nothing.
        guard sizes.allSatisfy({ 3 * source.height * (source.width + $0.width) <= byteLimit }) else { return nil }
        targets = sizes.map {
            Target(
                width: $0.width, height: $0.height, horizontal: axis(source.width, $0.width),
                vertical: axis(source.height, $0.height))
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
        targets.map { resize(source, width: $0.width, height: $0.height, filter: filter, arithmetic: arithmetic) }
    }
}
