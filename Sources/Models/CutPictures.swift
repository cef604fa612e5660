package import Imaging

/// Pictures at their final size, how their samples become numbers, and how they are cut for the vision encoder.
package struct CutPictures: Sendable, Equatable {
    package enum Cut: Sendable, Equatable {
        /// Tiles row by row, channels as planes.
        case tiles(width: Int, height: Int)
        /// Patches of `size` pixels a side, blocks of `merge` by `merge` together, the picture in each of `frames`; see `qwenPatches`.
        case patches(size: Int, merge: Int, frames: Int)
    }

    package enum Source: Sendable, Equatable {
        case pictures([RGBImage])
        /// Still to be resized, beside the encoder.
        case pending(PendingResize)
    }

    /// Pictures one after another in the order of their rows; sides are multiples of what they are cut into.
    package let source: Source
    package let normalization: Normalization
    package let cut: Cut

    package init(_ source: Source, _ normalization: Normalization, _ cut: Cut) {
        self.source = source
        self.normalization = normalization
        self.cut = cut
    }

    /// Most bytes of device memory that a resize may take beside its result; larger pictures are resized on the host.
    package static let pendingByteLimit = 64 << 20

    /// - Parameter options: whether resizing is left to the encoder.
    package init(
        _ image: RGBImage, targets: [ResizeTarget], filter: ResampleFilter, arithmetic: ResampleArithmetic,
        _ normalization: Normalization, _ cut: Cut, options: ImageOptions
    ) {
        let pending =
            options.leavesResizing
            ? PendingResize(
                image, targets: targets, filter: filter, arithmetic: arithmetic, byteLimit: CutPictures.pendingByteLimit) : nil
        let source =
            pending.map { .pending($0) }
            ?? Source.pictures(targets.map { resize(image, to: $0, filter: filter, arithmetic: arithmetic) })
        self.init(source, normalization, cut)
    }

    /// Width and height of each picture.
    package var sizes: [(width: Int, height: Int)] {
        switch source {
        case .pictures(let pictures): pictures.map { ($0.width, $0.height) }
        case .pending(let resize): resize.targets.map { ($0.width, $0.height) }
        }
    }

    /// Bytes of host memory.
    package var byteCount: Int {
        switch source {
        case .pictures(let pictures): pictures.reduce(0) { $0 + $1.pixels.count }
        case .pending(let resize): resize.source.pixels.count
        }
    }

    /// Bytes of device memory that the pictures take on their way, beside their own.
    package var pendingBytes: Int {
        if case .pending(let resize) = source { resize.byteCount } else { 0 }
    }

    /// The reference's `pixel_values`.
    package var pixels: [Float] {
        let pictures =
            switch source {
            case .pictures(let pictures): pictures
            case .pending(let resize): resize.pictures
            }
        return pixels(pictures)
    }

    private func pixels(_ pictures: [RGBImage]) -> [Float] {
        switch cut {
        case .tiles(let width, let height):
            pictures.flatMap { $0.tiles(width: width, height: height) }.flatMap { planar($0, normalization) }
        case .patches(let size, let merge, let frames):
            pictures.flatMap {
                qwenPatches($0, patch: size, merge: merge, temporal: frames, normalization: normalization)
            }
        }
    }
}
