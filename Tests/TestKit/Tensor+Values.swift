package import Tensors

/// Element access for tests, converting from and to any type a backend computes with.
extension Tensor {
    /// Element `index` of a contiguous tensor.
    package func flat(_ index: Int) -> Double { load(index) }
    package func setFlat(_ index: Int, _ value: Double) { store(index, value) }
    /// Element `column` of row `row`, all axes but the first flattened.
    package func get(_ row: Int, _ column: Int) -> Double { load(row * rowStride + column) }
    package func set(_ row: Int, _ column: Int, _ value: Double) { store(row * rowStride + column, value) }
    package func rowValues(_ row: Int) -> [Double] { (0..<width).map { get(row, $0) } }
    /// All elements in order.
    package var values: [Float] { (0..<rows).flatMap { row in (0..<width).map { Float(get(row, $0)) } } }

    private func load(_ offset: Int) -> Double {
        let at = pointer + offset * dtype.size
        return switch dtype {
        case .float64: at.load(as: Double.self)
        case .float32: Double(at.load(as: Float.self))
        case .float16: Double(Float16(bitPattern: at.load(as: UInt16.self)))
        case .bfloat16: Double(Float(bitPattern: UInt32(at.load(as: UInt16.self)) << 16))
        case .int32: Double(at.load(as: Int32.self))
        case .int64: Double(at.load(as: Int64.self))
        default: preconditionFailure("tests do not read \(dtype)")
        }
    }

    private func store(_ offset: Int, _ value: Double) {
        let at = pointer + offset * dtype.size
        switch dtype {
        case .float64: at.storeBytes(of: value, as: Double.self)
        case .float32: at.storeBytes(of: Float(value), as: Float.self)
        case .float16: at.storeBytes(of: Float16(value).bitPattern, as: UInt16.self)
        case .bfloat16: at.storeBytes(of: bfloat16(Float(value)), as: UInt16.self)
        case .int32: at.storeBytes(of: Int32(value), as: Int32.self)
        default: preconditionFailure("tests do not write \(dtype)")
        }
    }

    /// Rounded to the nearest bfloat16, ties to even.
    private func bfloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
    }
}
