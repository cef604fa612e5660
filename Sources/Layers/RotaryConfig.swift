import Foundation
package import Checkpoints

/// Which dimensions turn, how fast, and how the speeds stretch beyond the trained length.
///
/// Variants and formulas are those of transformers 5.17.0 `modeling_rope_utils.py`.
package struct RotaryConfig: Sendable, Equatable {
    /// How frequencies differ from `theta^(-2i/d)`.
    package enum Scaling: Sendable, Equatable {
        case none
        /// All frequencies divided by the factor.
        case linear(factor: Double)
        /// NTK: the base grows with the sequence once it is longer than `maxPositions`.
        case dynamic(factor: Double)
        /// YaRN (arXiv 2309.00071): slow dimensions interpolate, fast ones do not.
        case yarn(Yarn)
        /// Llama 3.1: interpolates wavelengths longer than the trained context.
        case llama3(factor: Double, lowFactor: Double, highFactor: Double, originalLength: Double)
        /// LongRoPE (arXiv 2402.13753): a factor per frequency, one set for short and one for long sequences.
        case longRope(short: [Float], long: [Float], originalLength: Int, attentionFactor: Double)
    }

    package struct Yarn: Sendable, Equatable {
        package var factor: Double
        package var betaFast = 32.0
        package var betaSlow = 1.0
        package var originalLength: Double
        package var attentionFactor: Double
        package var truncate = true
    }

    /// Dimensions of a head that turn, at the front; twice the number of frequencies.
    package var rotarySize: Int
    package var theta: Double
    package var scaling: Scaling
    package var maxPositions: Int
    /// Frequencies per position axis (temporal, height, width) for M-RoPE, nil for one axis.
    package var sections: [Int]?
    /// Whether the axes take turns along the frequencies for as long as their sections last (Qwen3-VL), rather than follow one another.
    package var interleavesSections = false

    package init(
        rotarySize: Int, theta: Double, scaling: Scaling = .none, maxPositions: Int, sections: [Int]? = nil
    ) {
        self.rotarySize = rotarySize
        self.theta = theta
        self.scaling = scaling
        self.maxPositions = maxPositions
        self.sections = sections
    }

    /// Reads `rope_parameters` (transformers 5) or `rope_scaling` with `rope_theta` beside it (earlier).
    ///
    /// - Parameters:
    ///   - config: the language model's object.
    ///   - sections: default of `mrope_section` for M-RoPE, nil for one axis.
    ///   - given: the rotary embedding's object, where a configuration has one for each kind of layer.
    /// - Throws: `CheckpointError` naming the key that is missing or not usable.
    package init(
        _ config: ConfigReader, headSize: Int, maxPositions: Int, defaultTheta: Double, sections: [Int]? = nil,
        parameters given: ConfigReader? = nil
    ) throws {
        let parameters = try given ?? config.objectIfPresent("rope_scaling") ?? config.objectIfPresent("rope_parameters")
        let rope = parameters ?? config
        theta = try rope.doubleIfPresent("rope_theta") ?? config.double("rope_theta", default: defaultTheta)
        let partial =
            try rope.doubleIfPresent("partial_rotary_factor") ?? config.double("partial_rotary_factor", default: 1)
        guard partial > 0, partial <= 1 else {
            throw rope.invalid("partial_rotary_factor", "is \(partial), a number from 0 (exclusive) to 1 is needed")
        }
        guard theta > 0, theta.isFinite else { throw rope.invalid("rope_theta", "is \(theta), a positive number is needed") }
        rotarySize = Int(Double(headSize) * partial)
        self.maxPositions = maxPositions
        let sections = try sections.map { try rope.ints("mrope_section", default: $0) }
        self.sections = sections
        scaling =
            if let parameters {
                try RotaryConfig.scaling(parameters, config, maxPositions: maxPositions, frequencies: rotarySize / 2)
            } else { .none }
        guard rotarySize > 0, rotarySize.isMultiple(of: 2) else {
            throw config.invalid("head_dim", "gives \(rotarySize) rotating dimensions, a positive even number is needed")
        }
        if let sections,
            sections.count != 3 || sections.contains(where: { $0 < 0 || $0 > rotarySize })
                || sections.reduce(0, +) != rotarySize / 2
        {
            throw rope.invalid("mrope_section", "is \(sections), three numbers that add up to \(rotarySize / 2) are needed")
        }
    }

    /// The position axis that each frequency turns with.
    package var frequencyAxes: [Int] {
        guard let sections else { return [Int](repeating: 0, count: rotarySize / 2) }
        if interleavesSections {
            return (0..<rotarySize / 2).map { $0 / 3 < sections[$0 % 3] ? $0 % 3 : 0 }
        }
        return sections.enumerated().flatMap { axis, count in [Int](repeating: axis, count: count) }
    }

    private static func scaling(
        _ rope: ConfigReader, _ config: ConfigReader, maxPositions: Int, frequencies: Int
    ) throws -> Scaling {
        let type = try rope.stringIfPresent("rope_type") ?? rope.string("type", default: "default")
        // Phi-3 and others keep the trained length beside the rope parameters; there it comes first.
        let originalLength =
            try config.doubleIfPresent("original_max_position_embeddings")
            ?? rope.double("original_max_position_embeddings", default: Double(maxPositions))
        guard originalLength >= 1, originalLength < 1e15 else {
            throw rope.invalid("original_max_position_embeddings", "is \(originalLength), a positive number is needed")
        }
        switch type {
        case "default", "mrope": return .none
        case "linear": return .linear(factor: try rope.double("factor"))
        case "dynamic": return .dynamic(factor: try rope.double("factor"))
        case "llama3":
            return .llama3(
                factor: try rope.double("factor"), lowFactor: try rope.double("low_freq_factor"),
                highFactor: try rope.double("high_freq_factor"), originalLength: originalLength)
        case "yarn":
            let factor = try rope.doubleIfPresent("factor") ?? Double(maxPositions) / originalLength
            var yarn = Yarn(
                factor: factor, originalLength: originalLength, attentionFactor: try yarnAttention(rope, factor: factor))
            // Zero counts as absent, as Python's `or` has it.
            if let beta = try rope.doubleIfPresent("beta_fast"), beta != 0 { yarn.betaFast = beta }
            if let beta = try rope.doubleIfPresent("beta_slow"), beta != 0 { yarn.betaSlow = beta }
            yarn.truncate = try rope.bool("truncate", default: true)
            return .yarn(yarn)
        case "longrope", "su":
            let (short, long) = (try rope.floats("short_factor"), try rope.floats("long_factor"))
            guard short.count == frequencies, long.count == frequencies else {
                throw rope.invalid("long_factor", "and short_factor need \(frequencies) numbers each")
            }
            let factor = try rope.doubleIfPresent("factor") ?? Double(maxPositions) / originalLength
            let attention =
                try rope.doubleIfPresent("attention_factor")
                ?? (factor <= 1 ? 1 : (1 + log(factor) / log(originalLength)).squareRoot())
            return .longRope(short: short, long: long, originalLength: Int(originalLength), attentionFactor: attention)
        default:
            throw rope.invalid(
                "rope_type", "is \"\(type)\"", hint: "Known are default, linear, dynamic, yarn, llama3, longrope and mrope")
        }
    }

    private static func yarnAttention(_ rope: ConfigReader, factor: Double) throws -> Double {
        if let given = try rope.doubleIfPresent("attention_factor") { return given }
        func scale(_ mscale: Double) -> Double { factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1 }
        let (mscale, all) = (try rope.double("mscale", default: 0), try rope.double("mscale_all_dim", default: 0))
        return mscale != 0 && all != 0 ? scale(mscale) / scale(all) : scale(1)
    }
}
