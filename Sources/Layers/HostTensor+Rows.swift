package import Tensors

extension HostTensor {
    /// Rows `range` of the first axis, sharing memory.
    package func rows(_ range: Range<Int>) -> HostTensor {
        precondition(range.lowerBound >= 0 && range.upperBound <= dimensions[0], "row range outside the tensor")
        let rowBytes = dimensions.dropFirst().reduce(1, *) * dtype.size
        // A plan's tensors have shapes and no bytes.
        let slice =
            bytes.isEmpty
            ? bytes : UnsafeRawBufferPointer(rebasing: bytes[range.lowerBound * rowBytes..<range.upperBound * rowBytes])
        return HostTensor(
            name: name, dtype: dtype, dimensions: [range.count] + dimensions.dropFirst(), bytes: slice, owner: owner)
    }

    /// All elements in float32; zeros where a plan gives no bytes.
    package func floats() -> [Float] {
        withBytes { bytes in
            guard bytes.count == count * dtype.size, count > 0 else { return [Float](repeating: 0, count: count) }
            return (0..<count).map { index in
                switch dtype {
                case .float32: bytes.loadUnaligned(fromByteOffset: 4 * index, as: Float.self)
                case .bfloat16: Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) << 16)
                default: Float(Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
                }
            }
        }
    }

    /// The matrix with its axes exchanged, in float32.
    package func transposed() -> HostTensor {
        precondition(dimensions.count == 2, "only a matrix is transposed")
        let (rows, columns) = (dimensions[0], dimensions[1])
        let values = floats()
        var turned = [Float](repeating: 0, count: values.count)
        for row in 0..<rows {
            for column in 0..<columns { turned[column * rows + row] = values[row * columns + column] }
        }
        return HostTensor(name: name, dimensions: [columns, rows], floats: turned)
    }

    /// A float32 tensor of these values.
    package init(name: String, dimensions: [Int], floats: [Float]) {
        precondition(floats.count == dimensions.reduce(1, *), "values do not fill the dimensions")
        let owner = FloatMemory(floats)
        self.init(name: name, dtype: .float32, dimensions: dimensions, bytes: UnsafeRawBufferPointer(owner.memory), owner: owner)
    }

    private final class FloatMemory {
        let memory: UnsafeMutableBufferPointer<Float>

        init(_ values: [Float]) {
            memory = .allocate(capacity: values.count)
            _ = memory.initialize(fromContentsOf: values)
        }

        deinit { memory.deallocate() }
    }
}
