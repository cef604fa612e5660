import Tensors

/// A tensor between guard bytes: tells whether an operation wrote outside it, between strided rows included.
final class GuardedTensor {
    let tensor: Tensor
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int
    private static let guardBytes = 128
    private static let pattern: UInt8 = 0xA5

    /// - Parameter gap: elements between the end of a row and the start of the next.
    init(_ shape: Shape, dtype: DType = .float32, gap: Int = 0) {
        let width = shape.count == 0 ? 0 : shape.count / shape[0]
        byteCount = shape[0] * (width + gap) * dtype.size + 2 * GuardedTensor.guardBytes
        base = .allocate(byteCount: byteCount, alignment: 64)
        base.initializeMemory(as: UInt8.self, repeating: GuardedTensor.pattern, count: byteCount)
        tensor = Tensor(pointer: base + GuardedTensor.guardBytes, dtype: dtype, shape: shape, rowStride: width + gap)
    }

    deinit { base.deallocate() }

    convenience init(_ shape: Shape, dtype: DType = .float32, gap: Int = 0, values: [Float]) {
        self.init(shape, dtype: dtype, gap: gap)
        precondition(values.count == shape.count)
        for (i, value) in values.enumerated() { self[i] = value }
    }

    convenience init(indices: [Int32]) {
        self.init(Shape(indices.count), dtype: .int32)
        for (i, value) in indices.enumerated() { tensor.pointer.storeBytes(of: value, toByteOffset: 4 * i, as: Int32.self) }
    }

    /// Element `index` in row-major order, widened to or rounded (to nearest even) from float32.
    subscript(index: Int) -> Float {
        get {
            let place = address(index)
            switch tensor.dtype {
            case .bfloat16: return Float(bitPattern: UInt32(place.load(as: UInt16.self)) << 16)
            case .float16: return halfToFloat(place.load(as: UInt16.self))
            default: return place.load(as: Float.self)
            }
        }
        set {
            let place = address(index)
            switch tensor.dtype {
            case .bfloat16: place.storeBytes(of: UInt16(roundedToBF16(newValue).bitPattern >> 16), as: UInt16.self)
            case .float16: place.storeBytes(of: floatToHalf(newValue), as: UInt16.self)
            default: place.storeBytes(of: newValue, as: Float.self)
            }
        }
    }

    var values: [Float] { (0..<tensor.count).map { self[$0] } }

    var guardsAreIntact: Bool {
        let (width, size) = (tensor.width * tensor.dtype.size, tensor.dtype.size)
        let stride = tensor.rowStride * size
        for i in 0..<byteCount {
            let offset = i - GuardedTensor.guardBytes
            let inside = offset >= 0 && stride > 0 && offset / stride < tensor.rows && offset % stride < width
            if !inside && base.load(fromByteOffset: i, as: UInt8.self) != GuardedTensor.pattern { return false }
        }
        return true
    }

    private func address(_ index: Int) -> UnsafeMutableRawPointer {
        let width = tensor.width
        return tensor.pointer + (index / width * tensor.rowStride + index % width) * tensor.dtype.size
    }
}

/// float32 rounded to the nearest bfloat16, ties to even.
func roundedToBF16(_ x: Float) -> Float {
    if x.isNaN { return x }
    let bits = x.bitPattern
    return Float(bitPattern: (bits &+ 0x7fff &+ ((bits >> 16) & 1)) & 0xffff_0000)
}

func halfToFloat(_ h: UInt16) -> Float {
    let (sign, exponent, mantissa) = (h >> 15, Int(h >> 10) & 31, Float(h & 1023))
    let magnitude: Float =
        switch exponent {
        case 0: mantissa * 0x1p-24
        case 31: mantissa == 0 ? .infinity : .nan
        default: (1 + mantissa / 1024) * Float(sign: .plus, exponent: exponent - 15, significand: 1)
        }
    return sign == 1 ? -magnitude : magnitude
}

/// Truncates; tests only need some float16 near `x`.
func floatToHalf(_ x: Float) -> UInt16 {
    let sign: UInt16 = x.sign == .minus ? 0x8000 : 0
    let magnitude = abs(x)
    if magnitude < 0x1p-14 { return sign | UInt16(magnitude * 0x1p24) }
    if magnitude >= 65504 { return sign | 0x7bff }
    return sign | UInt16((magnitude.exponent + 15) << 10) | UInt16((magnitude.significand - 1) * 1024)
}

/// Seeded numbers (splitmix64), the same on every run and machine.
struct Noise {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func int(_ range: Range<Int>) -> Int { range.lowerBound + Int(next() % UInt64(range.count)) }

    /// Uniform in -1 ..< 1.
    mutating func uniform() -> Float { Float(Int64(bitPattern: next()) >> 40) * 0x1p-23 }

    /// About normal with deviation `scale`; one value in 97 is `outlier` times as large.
    mutating func values(_ count: Int, scale: Float = 1, outlier: Float = 1) -> [Float] {
        (0..<count).map { i in
            let sum = uniform() + uniform() + uniform()
            return sum * scale * (i % 97 == 41 ? outlier : 1)
        }
    }

    mutating func shuffled(_ count: Int) -> [Int32] {
        var order = (0..<Int32(count)).map { $0 }
        for i in stride(from: count - 1, to: 0, by: -1) { order.swapAt(i, int(0..<i + 1)) }
        return order
    }
}

/// Root of the summed squared differences over that of the reference.
func relativeError(_ got: [Float], _ want: [Double]) -> Double {
    var (difference, size) = (0.0, 0.0)
    for (g, w) in zip(got, want) {
        difference += (Double(g) - w) * (Double(g) - w)
        size += w * w
    }
    return got.count != want.count ? .infinity : size == 0 ? difference.squareRoot() : (difference / size).squareRoot()
}
