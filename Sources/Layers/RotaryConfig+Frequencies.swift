import Foundation

extension RotaryConfig {
    /// Whether the frequencies depend on the length of the sequence.
    package var dependsOnLength: Bool {
        switch scaling {
        case .dynamic, .longRope: true
        case .none, .linear, .yarn, .llama3: false
        }
    }

    /// Radians per position, `rotarySize / 2` of them in float32 as transformers holds them.
    ///
    /// - Parameter length: positions of the sequence so far; matters where ``dependsOnLength``.
    package func inverseFrequencies(length: Int) -> [Float] {
        switch scaling {
        case .none: return plain(theta)
        case .linear(let factor): return plain(theta).map { $0 / Float(factor) }
        case .dynamic(let factor):
            let (longest, size) = (Double(maxPositions), Double(rotarySize))
            let stretch = factor * max(Double(length), longest) / longest - (factor - 1)
            return plain(theta * pow(stretch, size / (size - 2)))
        case .llama3(let factor, let low, let high, let original):
            return plain(theta).map { RotaryConfig.llama3($0, factor: factor, low: low, high: high, original: original) }
        case .yarn(let yarn): return frequencies(yarn)
        case .longRope(let short, let long, let original, _):
            let factors = length > original ? long : short
            return zip(powers(theta), factors).map { 1 / ($1 * $0) }
        }
    }

    /// What cosines and sines are multiplied by.
    package var attentionFactor: Float {
        switch scaling {
        case .yarn(let yarn): Float(yarn.attentionFactor)
        case .longRope(_, _, _, let factor): Float(factor)
        case .none, .linear, .dynamic, .llama3: 1
        }
    }

    /// `base^(2i/d)` in float32.
    private func powers(_ base: Double) -> [Float] {
        stride(from: 0, to: rotarySize, by: 2).map { pow(Float(base), Float($0) / Float(rotarySize)) }
    }

    private func plain(_ base: Double) -> [Float] { powers(base).map { 1 / $0 } }

    private static func llama3(_ frequency: Float, factor: Double, low: Double, high: Double, original: Double) -> Float {
        let wavelength = 2 * Float.pi / frequency
        if wavelength < Float(original / high) { return frequency }
        if wavelength > Float(original / low) { return frequency / Float(factor) }
        // Equal factors leave no band between; Llama 4 Scout has them.
        if high == low { return frequency }
        let smooth = (Float(original) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * frequency / Float(factor) + smooth * frequency
    }

    private func frequencies(_ yarn: Yarn) -> [Float] {
        let size = Double(rotarySize)
        // The dimension that turns this often over the trained length.
        func dimension(_ turns: Double) -> Double { size * log(yarn.originalLength / (turns * 2 * .pi)) / (2 * log(theta)) }
        var (low, high) = (dimension(yarn.betaFast), dimension(yarn.betaSlow))
        if yarn.truncate { (low, high) = (low.rounded(.down), high.rounded(.up)) }
        (low, high) = (max(low, 0), min(high, size - 1))
        if low == high { high += 0.001 }
        return powers(theta).enumerated().map { index, power in
            let ramp = min(max((Float(index) - Float(low)) / Float(high - low), 0), 1)
            let keep = 1 - ramp
            return 1 / (Float(yarn.factor) * power) * (1 - keep) + 1 / power * keep
        }
    }
}
