import CImageKernels
import Foundation

/// The fixed-point filter of one axis of a resize.
struct ResampleAxis {
    private let starts: [Int32]
    private let high: [Int16]
    private let low: [Int16]
    private let taps: Int
    private let used: Int
    private let precision: Int

    /// Fractional bits of the low plane, as the kernels expect.
    private static let split = 11
    /// Fractional bits of Pillow's weights: 32 less 8 for a sample and 2 for headroom.
    private static let pillowPrecision = 22

    /// - Parameters:
    ///   - input: samples along the axis before.
    ///   - output: samples along the axis after.
    init(input: Int, output: Int, filter: ResampleFilter, arithmetic: ResampleArithmetic) {
        let weights = AxisWeights(input: input, output: output) {
            filter.weight($0, arithmetic)
        } support: {
            filter.support
        }
        // The kernels read four samples of a row, or two rows, at a time.
        let taps = (weights.longest + 3) / 4 * 4
        var precision = Self.pillowPrecision
        if arithmetic == .torch {
            // As many bits as keep the largest weight in a signed 16-bit integer (ATen, UpSampleKernel.cpp).
            let largest = weights.values.max() ?? 1
            precision = 0
            while precision < 22, Int(0.5 + largest * Double(1 << (precision + 1))) < 1 << 15 { precision += 1 }
        }
        var high = [Int16](repeating: 0, count: output * taps)
        var low = [Int16](repeating: 0, count: arithmetic == .pillow ? output * taps : 0)
        let scale = Double(1 << precision)
        for index in 0..<output {
            for tap in 0..<weights.longest {
                let value = weights.values[index * weights.taps + tap] * scale
                // Rounded half away from zero.
                let rounded = Int(value < 0 ? value - 0.5 : value + 0.5)
                if arithmetic == .pillow {
                    high[index * taps + tap] = Int16(truncatingIfNeeded: rounded >> Self.split)
                    low[index * taps + tap] = Int16(truncatingIfNeeded: rounded & (1 << Self.split - 1))
                } else {
                    high[index * taps + tap] = Int16(clamping: rounded)
                }
            }
        }
        self.starts = weights.starts.map { Int32($0) }
        self.high = high
        self.low = low
        self.taps = taps
        used = (weights.longest + 1) / 2 * 2
        self.precision = precision
    }

    /// The same filter with one integer per weight.
    var table: ResampleTable {
        let weights = (0..<starts.count * used).map { place -> Int32 in
            let index = place / used * taps + place % used
            return low.isEmpty ? Int32(high[index]) : Int32(high[index]) << Self.split + Int32(low[index])
        }
        return ResampleTable(starts: starts, weights: weights, taps: used, precision: precision)
    }

    /// Gives the kernels a view that lives as long as `body`.
    func withAxis<Result>(_ body: (UnsafePointer<cik_axis>) -> Result) -> Result {
        starts.withUnsafeBufferPointer { starts in
            high.withUnsafeBufferPointer { high in
                low.withUnsafeBufferPointer { low in
                    var axis = cik_axis(
                        starts: starts.baseAddress, high: high.baseAddress, low: low.isEmpty ? nil : low.baseAddress,
                        taps: Int32(taps), used: Int32(used), precision: Int32(precision), outputs: Int32(starts.count))
                    return withUnsafePointer(to: &axis, body)
                }
            }
        }
    }
}

/// The real-valued weights of one axis: output i is the sum of `values[i * taps + k] * input[starts[i] + k]`.
///
/// The kernel's support grows with the reduction, which is what antialiasing means. Pillow's `precompute_coeffs` and ATen's
/// `_compute_indices_min_size_weights_aa` agree in this.
struct AxisWeights {
    let starts: [Int]
    let taps: Int
    let values: [Double]
    /// The most samples that any output reads; at most `taps`.
    let longest: Int

    init(input: Int, output: Int, weight: (Double) -> Double, support: () -> Double) {
        let scale = Double(input) / Double(output)
        let stretch = max(scale, 1)
        let reach = support() * stretch
        let taps = Int(reach.rounded(.up)) * 2 + 1
        var starts = [Int](repeating: 0, count: output)
        var values = [Double](repeating: 0, count: output * taps)
        var longest = 1
        let inverse = 1 / stretch
        for index in 0..<output {
            let center = scale * (Double(index) + 0.5)
            let start = max(Int(center - reach + 0.5), 0)
            let count = min(max(min(Int(center + reach + 0.5), input) - start, 0), taps)
            starts[index] = start
            longest = max(longest, count)
            var total = 0.0
            for tap in 0..<count {
                let value = weight((Double(tap + start) - center + 0.5) * inverse)
                values[index * taps + tap] = value
                total += value
            }
            if total != 0 {
                for tap in 0..<count { values[index * taps + tap] /= total }
            }
        }
        self.starts = starts
        self.taps = taps
        self.values = values
        self.longest = longest
    }
}
