/// A typed view of device memory that somebody else owns.
///
/// A tensor is a plain value: a pointer, a type, a shape and the stride between rows. It owns nothing; activations belong
/// to a ``Workspace``, weights and caches to a ``DeviceBuffer``. So passing tensors allocates nothing and a step of decoding
/// sees the same addresses each time. It is deliberately not `Sendable`: tensors never leave the engine's executor.
///
/// All axes but the first are contiguous. The first axis ("rows") may be strided, so that Q, K and V can be views of one
/// fused projection.
package struct Tensor {
    /// Device address of the first element (host memory on the CPU).
    package let pointer: UnsafeMutableRawPointer
    package let dtype: DType
    package let shape: Shape
    /// Elements between the starts of two rows; `shape.count / shape[0]` when contiguous.
    package let rowStride: Int

    package init(pointer: UnsafeMutableRawPointer, dtype: DType, shape: Shape, rowStride: Int? = nil) {
        self.pointer = pointer
        self.dtype = dtype
        self.shape = shape
        self.rowStride = rowStride ?? Tensor.rowWidth(shape)
    }

    /// Rows, the length of the first axis.
    package var rows: Int { shape[0] }
    /// Elements in one row, all axes but the first.
    package var width: Int { Tensor.rowWidth(shape) }
    package var count: Int { shape.count }
    package var byteCount: Int { shape.count * dtype.size }
    package var isContiguous: Bool { rowStride == width || rows == 1 }

    private static func rowWidth(_ shape: Shape) -> Int { shape.axes[1] &* shape.axes[2] &* shape.axes[3] }

    /// Rows `range` of this tensor, sharing memory.
    package func rows(_ range: Range<Int>) -> Tensor {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "row range outside the tensor")
        let sliced =
            switch shape.rank {
            case 1: Shape(range.count)
            case 2: Shape(range.count, shape[1])
            case 3: Shape(range.count, shape[1], shape[2])
            default: Shape(range.count, shape[1], shape[2], shape[3])
            }
        return Tensor(
            pointer: pointer + range.lowerBound * rowStride * dtype.size, dtype: dtype, shape: sliced, rowStride: rowStride)
    }

    /// Columns `range` of a `[rows, columns]` tensor as a strided view of the same memory.
    package func columns(_ range: Range<Int>) -> Tensor {
        precondition(shape.rank == 2 && range.lowerBound >= 0 && range.upperBound <= shape[1], "column range outside the tensor")
        return Tensor(
            pointer: pointer + range.lowerBound * dtype.size, dtype: dtype, shape: Shape(rows, range.count), rowStride: rowStride)
    }

    /// The same elements under another shape. The tensor must be contiguous, unless only the axes after the first change.
    package func reshaped(_ newShape: Shape) -> Tensor {
        precondition(newShape.count == shape.count, "reshape changes the number of elements")
        if newShape[0] == rows { return Tensor(pointer: pointer, dtype: dtype, shape: newShape, rowStride: rowStride) }
        precondition(isContiguous, "only a contiguous tensor can change its rows")
        return Tensor(pointer: pointer, dtype: dtype, shape: newShape)
    }
}
