import Foundation
package import Tensors

/// Cosines and sines of a batch's rotary angles, computed once per pass and shared by all layers.
///
/// Angles are float32 products of float32 frequencies and positions, as transformers computes them. Where frequencies depend on the
/// length of the sequence they are computed on the host; the scratch arrays are kept, so that steady decoding allocates nothing.
package final class RotaryTables {
    package let config: RotaryConfig
    private let frequencies: RotaryFrequencies
    /// The position axis of each frequency.
    private let axes: [Int]
    private var cosine: [Float] = []
    private var sine: [Float] = []

    package init(_ config: RotaryConfig, backend: any Backend) throws {
        self.config = config
        axes = config.frequencyAxes
        frequencies = try RotaryFrequencies(config.inverseFrequencies(length: 0), axes: axes.map(Int32.init), backend: backend)
    }

    /// Axes of positions: 1, or 3 for M-RoPE.
    package var axisCount: Int { config.sections?.count ?? 1 }
    /// Whether tables follow from positions alone, so that a recorded pass can compute them.
    package var dependsOnPositionsOnly: Bool { !config.dependsOnLength }

    /// Tables `[T, R]` float32 in workspace memory for the rows of `batch`, whose arrays are on the device as `inputs`.
    package func tables(
        _ batch: ForwardBatch, inputs: PassInputs, context: ForwardContext
    ) throws -> (cosine: Tensor, sine: Tensor) {
        precondition(batch.positions.count == axisCount, "the batch has \(batch.positions.count) position axes")
        guard config.dependsOnLength else {
            return try frequencies.tables(inputs.positions, factor: config.attentionFactor, context: context)
        }
        cosine.removeAll(keepingCapacity: true)
        sine.removeAll(keepingCapacity: true)
        for sequence in 0..<batch.sequenceCount {
            let rows = Int(batch.queryStarts[sequence])..<Int(batch.queryStarts[sequence + 1])
            let last = batch.positions.reduce(Int32(-1)) { max($0, $1[rows].max() ?? -1) }
            append(rows, batch.positions, config.inverseFrequencies(length: Int(last) + 1))
        }
        let shape = Shape(batch.tokenCount, axes.count)
        return (try context.upload(cosine, shape: shape), try context.upload(sine, shape: shape))
    }

    private func append(_ rows: Range<Int>, _ positions: [[Int32]], _ frequencies: [Float]) {
        let factor = config.attentionFactor
        for row in rows {
            for (index, frequency) in frequencies.enumerated() {
                let angle = frequency * Float(positions[axes[index]][row])
                cosine.append(cos(angle) * factor)
                sine.append(sin(angle) * factor)
            }
        }
    }
}
