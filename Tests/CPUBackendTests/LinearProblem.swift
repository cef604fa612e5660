import CPUBackend
import Tensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

let activations: [Activation] = [.gelu, .geluTanh, .quickGELU, .silu, .relu]

func reference(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .gelu: 0.5 * x * erfc(-x / 2.0.squareRoot())
    case .geluTanh: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .quickGELU: x / (1 + exp(-1.702 * x))
    case .silu: x / (1 + exp(-x))
    case .relu: max(x, 0)
    case .tanh: tanh(x)
    }
}

/// What a mode rounds to bfloat16 before it multiplies.
enum Rounding { case none, weights, both }

func rounding(_ setting: LinearTests.Setting) -> Rounding {
    setting.mode == .exact ? .none : setting.instructionSet == .avx512bf16 ? .both : .weights
}

func nmse(_ values: [Float], _ expected: [Double]) -> Double {
    var error = 0.0
    var power = 0.0
    for (value, expected) in zip(values, expected) {
        let difference = Double(value) - expected
        error += difference * difference
        power += expected * expected
    }
    return power > 0 ? error / power : error
}

extension Noise {
    /// Roughly normal, deviation one.
    mutating func normal() -> Float { uniform() + uniform() + uniform() }
}

/// Zeroed float32 rows with guards around and between them.
func guardedRows(_ rows: Int, _ columns: Int) -> GuardedTensor {
    GuardedTensor(Shape(rows, columns), gap: 3, values: [Float](repeating: 0, count: rows * columns))
}

extension GuardedTensor {
    func fill(_ values: [Float]) {
        for (index, value) in values.enumerated() { self[index] = value }
    }
}

/// Bytes of a host tensor at an address that is aligned to nothing.
final class Bytes {
    private let memory: UnsafeMutableRawPointer
    init(count: Int) { memory = .allocate(byteCount: count + 1, alignment: 64) }
    deinit { memory.deallocate() }
    var unaligned: UnsafeMutableRawPointer { memory + 1 }
}

func host(_ name: String, _ values: inout [Float], _ dimensions: [Int]) -> HostTensor {
    let bytes = Bytes(count: values.count * 4)
    values.withUnsafeBytes { UnsafeMutableRawBufferPointer(start: bytes.unaligned, count: $0.count).copyMemory(from: $0) }
    return HostTensor(
        name: name, dtype: .float32, dimensions: dimensions,
        bytes: UnsafeRawBufferPointer(start: bytes.unaligned, count: values.count * 4), owner: bytes)
}

/// Random operands and their product in double precision.
struct Problem {
    let t: Int
    let n: Int
    let k: Int
    let x: GuardedTensor
    let weight: HostTensor
    let bias: HostTensor
    private let weightValues: [Float]
    private let biasValues: [Float]

    init(t: Int, n: Int, k: Int, source: DType, noise: inout Noise) {
        let x = guardedRows(t, k)
        var values = (0..<t * k).map { _ in noise.normal() }
        // Outliers, as activations have them: a few values far larger than the rest.
        for _ in 0..<max(1, values.count / 200) { values[Int(noise.next() % UInt64(values.count))] *= 60 }
        x.fill(values)
        self.init(x: x, n: n, source: source, noise: &noise)
    }

    init(sharing other: Problem, n: Int? = nil, noise: inout Noise) {
        self.init(x: other.x, n: n ?? other.n, source: other.weight.dtype, noise: &noise)
    }

    private init(x: GuardedTensor, n: Int, source: DType, noise: inout Noise) {
        (t, self.n, k) = (x.tensor.rows, n, x.tensor.width)
        self.x = x
        let deviation = 1 / Float(k).squareRoot()
        var stored = [Float]()
        let bytes = Bytes(count: n * k * source.size)
        for index in 0..<n * k {
            var value = noise.normal() * deviation
            switch source {
            case .bfloat16:
                value = roundedToBF16(value)
                bytes.unaligned.storeBytes(of: UInt16(value.bitPattern >> 16), toByteOffset: 2 * index, as: UInt16.self)
            case .float16:
                let half = floatToHalf(value)
                value = halfToFloat(half)
                bytes.unaligned.storeBytes(of: half, toByteOffset: 2 * index, as: UInt16.self)
            default:
                bytes.unaligned.storeBytes(of: value, toByteOffset: 4 * index, as: Float.self)
            }
            stored.append(value)
        }
        weightValues = stored
        weight = HostTensor(
            name: "weight", dtype: source, dimensions: [n, k],
            bytes: UnsafeRawBufferPointer(start: bytes.unaligned, count: n * k * source.size), owner: bytes)
        var biasValues = (0..<n).map { _ in noise.normal() }
        bias = host("bias", &biasValues, [n])
        self.biasValues = biasValues
    }

    func products(rounding: Rounding, biased: Bool = true) -> [Double] {
        let x = self.x.values.map { Double(rounding == .both ? roundedToBF16($0) : $0) }
        let w = weightValues.map { Double(rounding == .none ? $0 : roundedToBF16($0)) }
        var results = [Double](repeating: 0, count: t * n)
        for row in 0..<t {
            for feature in 0..<n {
                var sum = biased ? Double(biasValues[feature]) : 0
                x.withUnsafeBufferPointer { x in
                    w.withUnsafeBufferPointer { w in
                        for i in 0..<k { sum += x[row * k + i] * w[feature * k + i] }
                    }
                }
                results[row * n + feature] = sum
            }
        }
        return results
    }
}
