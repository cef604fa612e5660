/// How a float resize weighs samples.
package enum FloatFilter: Sendable {
    /// A triangle of one sample to each side.
    case bilinear
    /// Keys' cubic: a = -0.5 with antialiasing and -0.75 without, as PyTorch has it.
    case bicubic
}

/// Resizes float planes as `torch.nn.functional.interpolate(align_corners=False)` does on float32.
///
/// Families use it where a picture is resized after normalisation (Phi-4's global view) or where positions are interpolated.
/// With `antialias` the kernel widens with the reduction; without, it reads two or four samples and repeats the border.
/// Results agree with PyTorch to the rounding of float32 sums.
///
/// - Parameters:
///   - planes: [channels, height, width] float32.
///   - width, height: the size of the planes.
///   - outputWidth, outputHeight: the new size.
/// - Returns: [channels, outputHeight, outputWidth] float32.
package func resizeFloat(
    _ planes: [Float], channels: Int, width: Int, height: Int, outputWidth: Int, outputHeight: Int, filter: FloatFilter,
    antialias: Bool
) -> [Float] {
    precondition(planes.count == channels * width * height, "the planes must be channels * height * width numbers")
    precondition(width > 0 && height > 0 && outputWidth > 0 && outputHeight > 0, "a resize needs positive sizes")
    if width == outputWidth, height == outputHeight { return planes }
    let horizontal = FloatAxis(input: width, output: outputWidth, filter: filter, antialias: antialias)
    let vertical = FloatAxis(input: height, output: outputHeight, filter: filter, antialias: antialias)
    var result = [Float](repeating: 0, count: channels * outputWidth * outputHeight)
    var lines = [Float](repeating: 0, count: height * outputWidth)
    for channel in 0..<channels {
        for y in 0..<height {
            let row = (channel * height + y) * width
            for x in 0..<outputWidth {
                lines[y * outputWidth + x] = horizontal.sum(x) { planes[row + $0] }
            }
        }
        for y in 0..<outputHeight {
            let row = (channel * outputHeight + y) * outputWidth
            for x in 0..<outputWidth {
                result[row + x] = vertical.sum(y) { lines[$0 * outputWidth + x] }
            }
        }
    }
    return result
}

/// For each output of an axis, the two inputs it lies between and what they count: PyTorch's bilinear without antialiasing.
package func bilinearTaps(
    input: Int, output: Int
) -> [(first: (index: Int, weight: Float), second: (index: Int, weight: Float))] {
    let scale = Float(input) / Float(output)
    return (0..<output).map { index in
        let position = max(scale * (Float(index) + 0.5) - 0.5, 0)
        let start = min(Int(position), input - 1)
        let rest = position - Float(start)
        return ((start, 1 - rest), (min(start + 1, input - 1), rest))
    }
}

/// The weights of one axis in float32.
private struct FloatAxis {
    private let starts: [Int]
    private let taps: Int
    private let weights: [Float]
    private let last: Int

    init(input: Int, output: Int, filter: FloatFilter, antialias: Bool) {
        last = input - 1
        if input == output {
            (starts, taps, weights) = (Array(0..<input), 1, [Float](repeating: 1, count: input))
        } else if antialias {
            let kernel: ResampleFilter = filter == .bilinear ? .bilinear : .bicubic
            let axis = AxisWeights(input: input, output: output) {
                kernel.weight($0, .torch)
            } support: {
                kernel.support
            }
            (starts, taps, weights) = (axis.starts, axis.taps, axis.values.map { Float($0) })
        } else {
            (starts, taps, weights) = Self.plain(input: input, output: output, filter: filter)
        }
    }

    /// Two or four taps around each position; those outside the picture read the border (`sum` clamps).
    private static func plain(input: Int, output: Int, filter: FloatFilter) -> ([Int], Int, [Float]) {
        let scale = Float(input) / Float(output)
        let taps = filter == .bilinear ? 2 : 4
        var starts: [Int] = []
        var weights: [Float] = []
        for index in 0..<output {
            var position = scale * (Float(index) + 0.5) - 0.5
            if filter == .bilinear {
                position = max(position, 0)
                let start = Int(position)
                starts.append(start)
                weights += [1 - (position - Float(start)), position - Float(start)]
            } else {
                let floor = position.rounded(.down)
                let t = position - floor
                starts.append(Int(floor) - 1)
                weights += [outer(t + 1), inner(t), inner(1 - t), outer(2 - t)]
            }
        }
        return (starts, taps, weights)
    }

    private static func inner(_ x: Float) -> Float { (1.25 * x - 2.25) * x * x + 1 }
    private static func outer(_ x: Float) -> Float { ((-0.75 * x + 3.75) * x - 6) * x + 3 }

    func sum(_ output: Int, _ sample: (Int) -> Float) -> Float {
        var total: Float = 0
        for tap in 0..<taps {
            let weight = weights[output * taps + tap]
            total += weight * sample(min(max(starts[output] + tap, 0), last))
        }
        return total
    }
}
