import Foundation
package import Tensors

/// Angle tables of two-dimensional rotary positions for patches (row, column): the first half of the angles turn with the
/// row, the second half with the column (Qwen2-VL's axial embedding, transformers 5.17.0 `Qwen2VLVisionRotaryEmbedding`).
package struct GridRotary {
    private let frequencies: RotaryFrequencies

    /// - Parameter theta: base of the wavelengths, 10 000 in every published checkpoint.
    package init(headSize: Int, theta: Double, backend: any Backend) throws {
        let half = headSize / 2
        let steps = stride(from: 0, to: half, by: 2).map { 1 / pow(Float(theta), Float($0) / Float(half)) }
        let axes = [Int32](repeating: 0, count: steps.count) + [Int32](repeating: 1, count: steps.count)
        frequencies = try RotaryFrequencies(steps + steps, axes: axes, backend: backend)
    }

    /// Cosine and sine tables `[T, headSize / 2]` float32 of the given patch rows and columns.
    package func upload(rows: [Int32], columns: [Int32], context: ForwardContext) throws -> (cosine: Tensor, sine: Tensor) {
        let positions = try context.upload(rows + columns).reshaped(Shape(2, rows.count))
        return try frequencies.tables(positions, factor: 1, context: context)
    }
}
