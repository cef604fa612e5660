import CCPUKernels
import Foundation

package import Tensors

extension CPUBackend {
    package func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws {
        let (heads, width) = try normAxes(x, weight: weight, bias: nil, into: out, operation: "rmsNorm")
        let (isa, scale) = (instructionSet.isa, weight.floats)
        forRows(x.rows, width: heads * width) { rows in
            vlm_rms_norm(
                isa, out.floatRow(rows.lowerBound), out.rowStride, x.floatRow(rows.lowerBound), x.rowStride, scale, rows.count,
                heads,
                width, epsilon)
        }
    }

    package func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {
        let (heads, width) = try normAxes(x, weight: weight, bias: bias, into: out, operation: "layerNorm")
        let (isa, scale, shift) = (instructionSet.isa, weight.floats, bias?.floats)
        forRows(x.rows, width: heads * width) { rows in
            vlm_layer_norm(
                isa, out.floatRow(rows.lowerBound), out.rowStride, x.floatRow(rows.lowerBound), x.rowStride, scale, shift,
                rows.count,
                heads, width, epsilon)
        }
    }

    package func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws {
        let operation = "rotate"
        try requireFloat32(x, cosine, sine, in: operation)
        let r = cosine.width
        try require(
            x.shape.rank == 3 && cosine.shape == sine.shape && cosine.shape.rank == 2 && cosine.rows == x.rows
                && 2 * r <= x.shape[2], operation,
            "x \(x.shape) must be [T, H, E], cosine \(cosine.shape) and sine \(sine.shape) [T, R] with 2R <= E")
        let isa = instructionSet.isa
        forRows(x.rows, width: x.width) { rows in
            vlm_rotate(
                isa, x.floatRow(rows.lowerBound), x.rowStride, cosine.floatRow(rows.lowerBound), cosine.rowStride,
                sine.floatRow(rows.lowerBound), sine.rowStride, rows.count, x.shape[1], x.shape[2], r, style == .interleaved)
        }
    }

    package func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) throws {
        let operation = "rotaryTables"
        try requireFloat32(frequencies, cosine, sine, in: operation)
        let (rows, count) = (cosine.rows, frequencies.count)
        try requireInt32(axes, count: count, operation)
        try require(
            positions.dtype == .int32 && positions.shape.rank == 2 && positions.width == rows && cosine.width == count
                && sine.shape == cosine.shape && axes.count == count, operation,
            "positions \(positions.shape) of \(positions.dtype) must be int32 [axes, T] for tables \(cosine.shape) and \(sine.shape)"
        )
        // Tokens repeat coordinates (text has equal axes, patches share rows and columns), but a sine costs little beside a layer.
        forRows(rows, width: 8 * count) { rows in
            for row in rows {
                for column in 0..<count {
                    let position = positions.int32s[Int(axes.int32s[column]) * positions.rowStride + row]
                    let angle = frequencies.floats[column] * Float(position)
                    cosine.floatRow(row)[column] = cos(angle) * factor
                    sine.floatRow(row)[column] = sin(angle) * factor
                }
            }
        }
    }

    /// Checks a norm's operands and gives the heads of a row and the width of each: `[T, D]` has one head.
    private func normAxes(
        _ x: Tensor, weight: Tensor, bias: Tensor?, into out: Tensor, operation: String
    ) throws -> (heads: Int, width: Int) {
        try requireFloat32(x, weight, out, in: operation)
        if let bias { try requireFloat32(bias, in: operation) }
        let width = x.shape[x.shape.rank - 1]
        try require(
            x.shape.rank >= 2 && out.shape == x.shape, operation,
            "x \(x.shape) and out \(out.shape) must be equal, [T, D] or [T, H, E]")
        try require(
            weight.count == width && weight.isContiguous && (bias.map { $0.count == width && $0.isContiguous } ?? true),
            operation,
            "weight \(weight.shape) and bias must have the \(width) elements of the last axis of \(x.shape)")
        return (width == 0 ? 0 : x.width / width, width)
    }
}
