import CImageKernels

/// The size that Qwen's processors resize a picture to: both sides multiples of `factor`, the number of pixels between the
/// two bounds, the shape kept as well as that allows.
///
/// transformers 5.17.0 `image_processing_qwen2_vl.smart_resize`. Halves are rounded to even, as Python's `round` does.
///
/// - Throws: ``ImageError`` of kind `invalidSize` if one side is more than 200 times the other.
package func smartResize(
    height: Int, width: Int, factor: Int = 28, minPixels: Int = 56 * 56, maxPixels: Int = 14 * 14 * 4 * 1280
) throws(ImageError) -> (height: Int, width: Int) {
    let h = Double(height), w = Double(width), f = Double(factor)
    guard max(h, w) / min(h, w) <= 200 else {
        throw ImageError(
            .invalidSize, "it is \(width)x\(height), one side more than 200 times the other",
            fix: "crop the picture or cut it into several")
    }
    var newHeight = Int((h / f).rounded(.toNearestOrEven)) * factor
    var newWidth = Int((w / f).rounded(.toNearestOrEven)) * factor
    if newHeight * newWidth > maxPixels {
        let beta = (h * w / Double(maxPixels)).squareRoot()
        newHeight = max(factor, Int((h / beta / f).rounded(.down)) * factor)
        newWidth = max(factor, Int((w / beta / f).rounded(.down)) * factor)
    } else if newHeight * newWidth < minPixels {
        let beta = (Double(minPixels) / (h * w)).squareRoot()
        newHeight = Int((h * beta / f).rounded(.up)) * factor
        newWidth = Int((w * beta / f).rounded(.up)) * factor
    }
    return (newHeight, newWidth)
}

/// Cuts a picture into the rows that Qwen's vision encoders read.
///
/// transformers 5.17.0 `Qwen2VLImageProcessor.patchify`: patches go merge block by merge block, so that the `merge * merge`
/// patches which become one feature are neighbours; a still picture fills every temporal slot.
///
/// - Parameters:
///   - image: already resized; both sides multiples of `patch * merge`.
///   - patch: side of a patch in pixels.
///   - merge: patches along a side that are merged into one feature.
///   - temporal: frames in a patch.
/// - Returns: [gridHeight * gridWidth, 3 * temporal * patch * patch] float32; inside a row: channel, frame, y, x.
package func qwenPatches(
    _ image: RGBImage, patch: Int = 14, merge: Int = 2, temporal: Int = 2, normalization: Normalization
) -> [Float] {
    precondition(
        image.width % (patch * merge) == 0 && image.height % (patch * merge) == 0,
        "the picture's sides must be multiples of patch * merge")
    let gridHeight = image.height / patch, gridWidth = image.width / patch
    let plane = patch * patch, channelSize = temporal * plane, rowSize = 3 * channelSize
    let count = gridHeight * gridWidth * rowSize
    return [Float](unsafeUninitializedCapacity: count) { target, initialized in
        guard let base = target.baseAddress else { return }
        cik_prefer_large_pages(base, count * MemoryLayout<Float>.size)
        image.pixels.withUnsafeBufferPointer { pixels in
            normalization.table.withUnsafeBufferPointer { table in
                guard let source = pixels.baseAddress, let table = table.baseAddress else { return }
                var row = base
                for blockY in 0..<gridHeight / merge {
                    for blockX in 0..<gridWidth / merge {
                        for inner in 0..<merge * merge {
                            let top = (blockY * merge + inner / merge) * patch
                            let left = (blockX * merge + inner % merge) * patch
                            for y in 0..<patch {
                                var pixel = source + ((top + y) * image.width + left) * 3
                                let line = row + y * patch
                                for x in 0..<patch {
                                    line[x] = table[Int(pixel[0])]
                                    line[channelSize + x] = table[256 + Int(pixel[1])]
                                    line[2 * channelSize + x] = table[512 + Int(pixel[2])]
                                    pixel += 3
                                }
                            }
                            for channel in 0..<3 {
                                for frame in 1..<max(temporal, 1) {
                                    let first = row + channel * channelSize
                                    (first + frame * plane).update(from: first, count: plane)
                                }
                            }
                            row += rowSize
                        }
                    }
                }
            }
        }
        initialized = count
    }
}
