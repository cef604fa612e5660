import CImageKernels

/// How bytes become the numbers that a vision encoder reads.
///
/// transformers 5.17.0 `TorchvisionBackend.rescale_and_normalize` fuses both steps: with `mean' = float32(mean) * (1 / rescale)`
/// and `std' = float32(std) * (1 / rescale)`, a sample becomes `(u8 - mean') / std'`, in float32 throughout.
package struct Normalization: Sendable, Equatable {
    /// The value of each of the 256 samples, [channel, sample].
    package let table: [Float]

    /// Rescaling and normalising, fused.
    ///
    /// - Parameters:
    ///   - mean, std: for red, green and blue, in units of the rescaled sample.
    ///   - rescale: what a sample is multiplied by, commonly 1/255; `nil` if the file turns rescaling off.
    package init(mean: [Float], std: [Float], rescale: Double? = 1.0 / 255.0) {
        precondition(mean.count == 3 && std.count == 3, "a normalisation has three means and three deviations")
        // The factor is a Python float, so the product of a float32 tensor with it is rounded to float32 once.
        let factor = rescale.map { Float(1.0 / $0) }
        table = (0..<3).flatMap { channel in
            let center = factor.map { mean[channel] * $0 } ?? mean[channel]
            let spread = factor.map { std[channel] * $0 } ?? std[channel]
            return (0..<256).map { (Float($0) - center) / spread }
        }
    }

    /// Rescaling alone, for families that normalise in the model or not at all.
    package init(rescale: Double = 1.0 / 255.0) {
        let factor = Float(rescale)
        table = (0..<3).flatMap { _ in (0..<256).map { Float($0) * factor } }
    }

    /// `(u8 / 255 - mean) / std` in float32, unfused: what `ToTensor` and `Normalize` of torchvision do, which the remote
    /// code of the original InternVL uses.
    package static func unfused(mean: [Float], std: [Float]) -> Normalization {
        precondition(mean.count == 3 && std.count == 3, "a normalisation has three means and three deviations")
        return Normalization(
            table: (0..<3).flatMap { channel in (0..<256).map { (Float($0) / 255 - mean[channel]) / std[channel] } })
    }

    private init(table: [Float]) { self.table = table }

    /// The means and deviations of ImageNet's pictures.
    package static let imageNetMean: [Float] = [0.485, 0.456, 0.406]
    package static let imageNetStd: [Float] = [0.229, 0.224, 0.225]
    /// The means and deviations that CLIP was trained with.
    package static let clipMean: [Float] = [0.48145466, 0.4578275, 0.40821073]
    package static let clipStd: [Float] = [0.26862954, 0.26130258, 0.27577711]
}

/// Normalised samples channel by channel.
///
/// - Returns: [3, height, width] float32.
package func planar(_ image: RGBImage, _ normalization: Normalization) -> [Float] {
    let area = image.width * image.height
    return [Float](unsafeUninitializedCapacity: 3 * area) { target, initialized in
        cik_prefer_large_pages(target.baseAddress, 3 * area * MemoryLayout<Float>.size)
        image.pixels.withUnsafeBufferPointer { pixels in
            normalization.table.withUnsafeBufferPointer { table in
                for pixel in 0..<area {
                    target[pixel] = table[Int(pixels[3 * pixel])]
                    target[area + pixel] = table[256 + Int(pixels[3 * pixel + 1])]
                    target[2 * area + pixel] = table[512 + Int(pixels[3 * pixel + 2])]
                }
            }
        }
        initialized = 3 * area
    }
}
