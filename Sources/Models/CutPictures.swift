package import Imaging

/// Pictures at their final size, how their samples become numbers, and how they are cut for the vision encoder.
package struct CutPictures: Sendable, Equatable {
    package enum Cut: Sendable, Equatable {
        /// Tiles row by row, channels as planes.
        case tiles(width: Int, height: Int)
        /// Patches of `size` pixels a side, blocks of `merge` by `merge` together, the picture in each of `frames`; see `qwenPatches`.
        case patches(size: Int, merge: Int, frames: Int)
    }

    /// One after another in the order of their rows; sides are multiples of what they are cut into.
    package let pictures: [RGBImage]
    package let normalization: Normalization
    package let cut: Cut

    package init(_ pictures: [RGBImage], _ normalization: Normalization, _ cut: Cut) {
        self.pictures = pictures
        self.normalization = normalization
        self.cut = cut
    }

    /// The reference's `pixel_values`.
    package var pixels: [Float] {
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
