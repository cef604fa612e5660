package import Tensors

/// Rotary frequencies on the device, with the position axis that each turns with.
package struct RotaryFrequencies {
    /// `[R]` float32 and int32.
    private let frequencies: Tensor
    private let axes: Tensor
    private let owner: any DeviceBuffer

    /// - Parameters:
    ///   - frequencies: `[R]` radians per position.
    ///   - axes: `[R]` rows of the positions.
    package init(_ frequencies: [Float], axes: [Int32], backend: any Backend) throws {
        precondition(frequencies.count == axes.count, "an axis for each frequency")
        let count = frequencies.count
        let bytes = (4 * count + 63) / 64 * 64
        owner = try backend.allocate(byteCount: max(1, 2 * bytes), purpose: "weights")
        self.frequencies = Tensor(pointer: owner.pointer, dtype: .float32, shape: Shape(count))
        self.axes = Tensor(pointer: owner.pointer + bytes, dtype: .int32, shape: Shape(count))
        try frequencies.withUnsafeBytes { try backend.upload($0, to: self.frequencies) }
        try axes.withUnsafeBytes { try backend.upload($0, to: self.axes) }
    }

    /// Angle tables `[T, R]` float32 in workspace memory of `positions` `[axes, T]` int32.
    package func tables(_ positions: Tensor, factor: Float, context: ForwardContext) throws -> (cosine: Tensor, sine: Tensor) {
        let shape = Shape(positions.width, frequencies.count)
        let cosine = try context.workspace.allocate(shape, dtype: .float32)
        let sine = try context.workspace.allocate(shape, dtype: .float32)
        try withExtendedLifetime(owner) {
            try context.backend.rotaryTables(
                positions: positions, frequencies: frequencies, axes: axes, factor: factor, cosine: cosine, sine: sine)
        }
        return (cosine, sine)
    }
}
