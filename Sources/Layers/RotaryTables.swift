import Foundation
package import Tensors

/// Cosines and sines of a batch's rotary angles, computed on the host once per pass and shared by all layers.
///
/// Angles are float32 products of float32 frequencies and positions, as transformers computes them. The scratch arrays are
/// kept, so that steady decoding allocates nothing.
package final class RotaryTables {
    package let config: RotaryConfig
    private let fixed: [Float]
    /// The position axis of each frequency.
    private let axes: [Int]
    private var cosine: [Float] = []
    private var sine: [Float] = []

    package init(_ config: RotaryConfig) {
        self.config = config
        fixed = config.inverseFrequencies(length: 0)
        axes = (config.sections ?? [config.rotarySize / 2]).enumerated().flatMap { axis, count in
            [Int](repeating: axis, count: count)
        }
    }

    /// Axes of positions: 1, or 3 for M-RoPE.
    package var axisCount: Int { config.sections?.count ?? 1 }

    /// Tables `[T, R]` float32 in workspace memory for the rows of `batch`.
    package func upload(_ batch: ForwardBatch, context: ForwardContext) throws -> (cosine: Tensor, sine: Tensor) {
        precondition(batch.positions.count == axisCount, "the batch has \(batch.positions.count) position axes")
        cosine.removeAll(keepingCapacity: true)
        sine.removeAll(keepingCapacity: true)
        if config.dependsOnLength {
            for sequence in 0..<batch.sequenceCount {
                let rows = Int(batch.queryStarts[sequence])..<Int(batch.queryStarts[sequence + 1])
                let last = batch.positions.reduce(Int32(-1)) { max($0, $1[rows].max() ?? -1) }
                append(rows, batch.positions, config.inverseFrequencies(length: Int(last) + 1))
            }
        } else {
            append(0..<batch.tokenCount, batch.positions, fixed)
        }
        let shape = Shape(batch.tokenCount, fixed.count)
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
