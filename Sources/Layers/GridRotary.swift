import Foundation
package import Tensors

/// Angle tables of two-dimensional rotary positions for patches (row, column): the first half of the angles turn with the
/// row, the second half with the column (Qwen2-VL's axial embedding, transformers 5.17.0 `Qwen2VLVisionRotaryEmbedding`).
package struct GridRotary: Sendable {
    /// `headSize / 4` radians per step.
    private let frequencies: [Float]

    /// - Parameter theta: base of the wavelengths, 10 000 in every published checkpoint.
    package init(headSize: Int, theta: Double) {
        let half = headSize / 2
        frequencies = stride(from: 0, to: half, by: 2).map { 1 / pow(Float(theta), Float($0) / Float(half)) }
    }

    /// Cosine and sine tables `[T, headSize / 2]` float32 of the given patch rows and columns.
    package func upload(rows: [Int32], columns: [Int32], context: ForwardContext) throws -> (cosine: Tensor, sine: Tensor) {
        // Patches share few distinct coordinates, so each coordinate's angles are computed once.
        let largest = Int(max(rows.max() ?? 0, columns.max() ?? 0))
        let count = frequencies.count
        var cosines = [Float](repeating: 0, count: (largest + 1) * count)
        var sines = cosines
        for step in 0...largest {
            for (index, frequency) in frequencies.enumerated() {
                let angle = frequency * Float(step)
                cosines[step * count + index] = cos(angle)
                sines[step * count + index] = sin(angle)
            }
        }
        let shape = Shape(rows.count, 2 * count)
        func table(_ values: [Float]) throws -> Tensor {
            var out: [Float] = []
            out.reserveCapacity(shape.count)
            for (row, column) in zip(rows, columns) {
                out.append(contentsOf: values[Int(row) * count..<(Int(row) + 1) * count])
                out.append(contentsOf: values[Int(column) * count..<(Int(column) + 1) * count])
            }
            return try context.upload(out, shape: shape)
        }
        return (try table(cosines), try table(sines))
    }
}
