package import Tensors

/// The kernels that a product can take.
package enum LinearPath: String, Sendable {
    /// At most 16 rows, see skinny.cuh.
    case skinny
    /// gemm.cu
    case hopper
    /// cuBLASLt
    case library
    /// Any shape and stride.
    case generic
}

/// What a product of more than 16 rows costs by gemm.cu and by cuBLASLt on an H100, to choose between them.
///
/// `microseconds = start + depth · inFeatures + max(bytes / bandwidth, operations / rate)`: the bytes are those of x, weight and out once,
/// start and rate are steps of the number of rows. The constants fit the logarithms of medians measured in bfloat16 on an H100 80GB HBM3
/// (132 multiprocessors) with CUDA 13.0 and cuBLASLt 13.1.0 on 23 November 2026: 56 products of 17 to 8200 rows, those of InternVL3-2B,
/// -8B and their vision encoder, where gates and activations, which decide, count more; a few are moved so that close calls come out as
/// measured. cuBLASLt's are off by 12 % and gemm.cu's by 13 % (root mean square).
package struct LinearCosts: Sendable {
    /// Holds up to so many rows: microseconds before the first result, and operations a microsecond.
    private struct Step {
        let rows: Int
        let start, rate: Double

        init(_ rows: Int, start: Double, teraflops: Double) {
            self.rows = rows
            self.start = start
            rate = teraflops * 1e6
        }
    }

    /// Bytes a microsecond.
    private let bandwidth: Double
    /// Microseconds for each input feature.
    private let depth: Double
    private let steps: [Step]

    /// gemm.cu with the best of its tiles, epilogues included.
    package static let hopper = LinearCosts(
        bandwidth: 3.25e6, depth: 0.56e-3,
        steps: [
            Step(64, start: 3.9, teraflops: 225), Step(128, start: 3.7, teraflops: 365), Step(256, start: 5.4, teraflops: 595),
            Step(512, start: 4.7, teraflops: 595), Step(1100, start: 3.2, teraflops: 760),
            Step(2100, start: 2.6, teraflops: 624), Step(.max, start: 5.4, teraflops: 670),
        ])

    /// cuBLASLt with a bias or a sum with `out` at most.
    package static let library = LinearCosts(
        bandwidth: 2.75e6, depth: 0.19e-3,
        steps: [
            Step(64, start: 2.2, teraflops: 173), Step(128, start: 2.0, teraflops: 334), Step(256, start: 3.9, teraflops: 625),
            Step(512, start: 5.1, teraflops: 700), Step(1100, start: 4.6, teraflops: 794),
            Step(2100, start: 2.8, teraflops: 702), Step(.max, start: 5.2, teraflops: 775),
        ])

    /// What a product of the library costs among other kernels, beside its own time: ours start while the one before them ends, next to a
    /// library's they do not. The vision encoder, 96 products of one picture, took 0.06 to 0.4 ms more than the sum of its kernels told.
    package static let handOver = 1.0

    /// Expected time of `x [rows, inFeatures]` by `[features, inFeatures]`, 16-bit types.
    package func microseconds(rows: Int, features: Int, inFeatures: Int) -> Double {
        let (t, f, k) = (Double(rows), Double(features), Double(inFeatures))
        guard let step = steps.first(where: { rows <= $0.rows }) else { return .infinity }
        return step.start + depth * k + max(2 * (f * k + t * k + t * f) / bandwidth, 2 * t * f * k / step.rate)
    }

    /// Rows to give cuBLASLt in a call of their own, so that its last round of tiles is no mostly empty one; `rows` when one call is best.
    ///
    /// Of many rows the library makes tiles of 128 by 256, one on each multiprocessor at a time: 4,096 rows by 3,584 features are 448 tiles,
    /// 3.4 rounds on 132 multiprocessors, and cost 4. With 3,584 rows they are 2.97, and 512 rows more take less than a round, as the
    /// library splits their sums.
    package static func wholeWaves(rows: Int, features: Int, inFeatures: Int, multiprocessors: Int) -> Int {
        let tilesAcross = (features + 255) / 256
        let tiles = (rows + 127) / 128 * tilesAcross
        let rounds = tiles / multiprocessors
        guard rounds >= 2, tiles % multiprocessors > 0 else { return rows }
        let first = rounds * multiprocessors / tilesAcross * 128
        guard first < rows, rows - first > 16 else { return rows }
        // A round's tiles at the rate of full ones.
        let round = Double(2 * 128 * 256 * multiprocessors) * Double(inFeatures) / 775e6
        let split =
            Double(rounds) * round + library.microseconds(rows: rows - first, features: features, inFeatures: inFeatures)
            + handOver
        return split < 0.97 * Double(rounds + 1) * round ? first : rows
    }

    /// The pass that cuBLASLt leaves for activations and gates: a launch, and its bytes at the speed of a copy.
    package static func passMicroseconds(rows: Int, features: Int, epilogue: LinearEpilogue) -> Double {
        let values: Int
        switch epilogue {
        case .store, .accumulate: return 0
        case .activation: values = 2 * features
        case .gated: values = features + features / 2
        // By way of float32: written, read, and `out` both.
        case .scaledAccumulate: values = 6 * features
        }
        return 1 + Double(2 * rows * values) / 2.5e6
    }

    /// Whether cuBLASLt is expected to be faster than gemm.cu for an operand `[rows, inFeatures]` of 16 bits and a weight
    /// `[features, inFeatures]` (gate and up together).
    package static func prefersLibrary(rows: Int, features: Int, inFeatures: Int, epilogue: LinearEpilogue) -> Bool {
        library.microseconds(rows: rows, features: features, inFeatures: inFeatures) + handOver
            + passMicroseconds(rows: rows, features: features, epilogue: epilogue)
            < hopper.microseconds(rows: rows, features: features, inFeatures: inFeatures)
    }
}
