import CImageKernels

/// Resizes with antialiasing on bytes, exactly as the reference does: the horizontal axis first, rounded to bytes between the
/// axes.
///
/// With ``ResampleArithmetic/torch`` this is `torchvision.transforms.v2.functional.resize(image, [height, width], filter,
/// antialias=True)` of a uint8 tensor on the CPU; with ``ResampleArithmetic/pillow`` it is `PIL.Image.resize` of Pillow 12.
/// `nearest` is `torch.nn.functional.interpolate(mode="nearest")` in both.
///
/// - Parameters:
///   - image: [height, width, 3].
///   - width, height: the new size; at least 1.
package func resize(
    _ image: RGBImage, width: Int, height: Int, filter: ResampleFilter, arithmetic: ResampleArithmetic = .torch
) -> RGBImage {
    resize(image, width: width, height: height, filter: filter, arithmetic: arithmetic, level: CIK_BEST)
}

/// Instruction sets that the resampling kernels can be held to, so that tests can compare them.
package enum ResampleLevel: CaseIterable {
    case scalar, neon, avx2, avx512

    /// Whether this processor has it.
    package var isAvailable: Bool { cik_supports(raw) != 0 }

    fileprivate var raw: cik_level {
        switch self {
        case .scalar: CIK_SCALAR
        case .neon: CIK_NEON
        case .avx2: CIK_AVX2
        case .avx512: CIK_AVX512
        }
    }
}

/// The same with chosen instructions.
package func resize(
    _ image: RGBImage, width: Int, height: Int, filter: ResampleFilter, arithmetic: ResampleArithmetic, level: ResampleLevel
) -> RGBImage {
    resize(image, width: width, height: height, filter: filter, arithmetic: arithmetic, level: level.raw)
}

private func resize(
    _ image: RGBImage, width: Int, height: Int, filter: ResampleFilter, arithmetic: ResampleArithmetic, level: cik_level
) -> RGBImage {
    precondition(width > 0 && height > 0, "a resize needs a positive size")
    if width == image.width, height == image.height { return image }
    if filter == .nearest { return resizeNearest(image, width: width, height: height) }
    // PIL.Image.resize takes the vertical axis first, on its own, where a strip a hundred times as tall as wide shrinks.
    if arithmetic == .pillow, image.height > image.width * 100, height < image.height, width != image.width {
        let shrunk = resize(image, width: image.width, height: height, filter: filter, arithmetic: arithmetic, level: level)
        return resize(shrunk, width: width, height: height, filter: filter, arithmetic: arithmetic, level: level)
    }
    let horizontal =
        width == image.width ? nil : ResampleAxis(input: image.width, output: width, filter: filter, arithmetic: arithmetic)
    let vertical =
        height == image.height ? nil : ResampleAxis(input: image.height, output: height, filter: filter, arithmetic: arithmetic)
    return horizontal.withOptionalAxis { horizontal in
        vertical.withOptionalAxis { vertical in
            let count = width * height * 3
            let pixels = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
                cik_prefer_large_pages(target.baseAddress, count)
                let inWidth = Int32(image.width), inHeight = Int32(image.height)
                let size = cik_resize_scratch(inWidth, inHeight, horizontal, vertical)
                withUnsafeTemporaryAllocation(byteCount: size, alignment: 64) { scratch in
                    image.pixels.withUnsafeBufferPointer { source in
                        cik_resize_rgb(
                            source.baseAddress, inWidth, inHeight, horizontal, vertical, target.baseAddress,
                            scratch.bindMemory(to: UInt8.self).baseAddress, level)
                    }
                }
                initialized = count
            }
            return RGBImage(uncheckedWidth: width, height: height, pixels: pixels)
        }
    }
}

extension Optional where Wrapped == ResampleAxis {
    fileprivate func withOptionalAxis<Result>(_ body: (UnsafePointer<cik_axis>?) -> Result) -> Result {
        guard let axis = self else { return body(nil) }
        return axis.withAxis { body($0) }
    }
}

/// Each output pixel copies the input pixel at floor(position * scale), in float32 as PyTorch computes it.
private func resizeNearest(_ image: RGBImage, width: Int, height: Int) -> RGBImage {
    let columns = nearestIndices(input: image.width, output: width)
    let rows = nearestIndices(input: image.height, output: height)
    let count = width * height * 3
    let pixels = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
        var to = 0
        for row in rows {
            for column in columns {
                let from = (row * image.width + column) * 3
                for channel in 0..<3 { target[to + channel] = image.pixels[from + channel] }
                to += 3
            }
        }
        initialized = count
    }
    return RGBImage(uncheckedWidth: width, height: height, pixels: pixels)
}

func nearestIndices(input: Int, output: Int) -> [Int] {
    let scale = Float(input) / Float(output)
    return (0..<output).map { min(Int((Float($0) * scale).rounded(.down)), input - 1) }
}
