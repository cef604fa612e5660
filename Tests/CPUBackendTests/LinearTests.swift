import CPUBackend
import Tensors
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Matrix multiplication against a double-precision reference written here.
@Suite struct LinearTests {
    struct Setting: CustomTestStringConvertible, Sendable {
        let instructionSet: InstructionSet
        let mode: CPUBackend.Mode
        let source: DType
        let threads: Int

        var testDescription: String { "\(instructionSet) \(mode) \(source) \(threads) threads" }

        static let all: [Setting] = InstructionSet.available.flatMap { level in
            [CPUBackend.Mode.exact, .fast].flatMap { mode in
                [DType.float32, .bfloat16, .float16].flatMap { source in
                    [1, 2].map { Setting(instructionSet: level, mode: mode, source: source, threads: $0) }
                }
            }
        }
    }

    /// Rows, outputs and inputs: one row, every height of a tile and its rests, several blocks of tiles, chunks of K and odd everything.
    static let shapes: [(t: Int, n: Int, k: Int)] = [
        (1, 1, 1), (1, 33, 7), (1, 100, 777), (2, 31, 64), (3, 65, 385), (4, 32, 384), (5, 70, 383), (6, 16, 2), (7, 48, 1001),
        (8, 5, 193), (9, 64, 50), (10, 40, 192), (11, 96, 191), (12, 35, 389), (13, 130, 129), (25, 257, 400), (40, 31, 769),
        (300, 77, 95), (589, 150, 33),
    ]

    @Test(arguments: Setting.all)
    func agreesWithTheReference(setting: Setting) throws {
        let backend = try CPUBackend(threads: setting.threads, mode: setting.mode, instructionSet: setting.instructionSet)
        var random = Random(seed: 1)
        for shape in LinearTests.shapes {
            let problem = Problem(t: shape.t, n: shape.n, k: shape.k, source: setting.source, random: &random)
            let weight = try backend.makeLinear([problem.weight], bias: [problem.bias], combine: .concatenated)
            let exact = problem.products(rounding: .none)
            let rounded = problem.products(rounding: rounding(setting))

            let out = GuardedRows(rows: shape.t, columns: shape.n, value: 0)
            try backend.linear(problem.x.tensor, weight, epilogue: .store, into: out.tensor)
            let error = nmse(out.values, rounded)
            #expect(error < 1e-11, "\(shape): \(error)")
            // Rounding to 8 bits of significand costs about (2^-9)² / 3 for each operand that is rounded.
            let loss = nmse(out.values, exact)
            #expect(loss < (setting.mode == .exact ? 1e-11 : 2e-5), "\(shape): \(loss)")
            #expect(out.guardsAreIntact, "\(shape) wrote outside its rows")
            #expect(problem.x.guardsAreIntact)
        }
    }

    @Test(arguments: Setting.all.filter { $0.source == .bfloat16 })
    func finishesResults(setting: Setting) throws {
        let backend = try CPUBackend(threads: setting.threads, mode: setting.mode, instructionSet: setting.instructionSet)
        var random = Random(seed: 2)
        for shape in [(t: 1, n: 45, k: 70), (t: 3, n: 64, k: 200), (t: 30, n: 45, k: 70)] {
            let problem = Problem(t: shape.t, n: shape.n, k: shape.k, source: setting.source, random: &random)
            let weight = try backend.makeLinear([problem.weight], bias: [problem.bias], combine: .concatenated)
            let sums = problem.products(rounding: rounding(setting))
            let before = (0..<shape.t * shape.n).map { _ in random.normal() }
            let scaleValues = (0..<shape.n).map { _ in random.normal() }
            let scale = GuardedRows(rows: 1, columns: shape.n, value: 0)
            scale.fill(scaleValues)
            let scaleTensor = Tensor(pointer: scale.tensor.pointer, dtype: .float32, shape: Shape(shape.n))

            func check(_ epilogue: LinearEpilogue, _ name: String, _ expected: (Double, Int) -> Double) throws {
                let out = GuardedRows(rows: shape.t, columns: shape.n, value: 0)
                out.fill(before)
                try backend.linear(problem.x.tensor, weight, epilogue: epilogue, into: out.tensor)
                let error = nmse(out.values, sums.indices.map { expected(sums[$0], $0) })
                #expect(error < 1e-11, "\(name) \(shape): \(error)")
                #expect(out.guardsAreIntact, "\(name) \(shape) wrote outside its rows")
            }
            try check(.accumulate, "accumulate") { v, i in Double(before[i]) + v }
            try check(.scaledAccumulate(scale: scaleTensor), "scaled") { v, i in
                Double(before[i]) + Double(scaleValues[i % shape.n]) * v
            }
            for activation in activations {
                try check(.activation(activation), activation.rawValue) { v, _ in reference(activation, v) }
            }
        }
    }

    @Test(arguments: Setting.all.filter { $0.source == .bfloat16 })
    func gatesResults(setting: Setting) throws {
        let backend = try CPUBackend(threads: setting.threads, mode: setting.mode, instructionSet: setting.instructionSet)
        var random = Random(seed: 3)
        // Halves that fill panels and halves that do not.
        for shape in [(t: 1, n: 16, k: 40), (t: 2, n: 21, k: 65), (t: 12, n: 5, k: 400), (t: 31, n: 37, k: 66)] {
            let gate = Problem(t: shape.t, n: shape.n, k: shape.k, source: setting.source, random: &random)
            let up = Problem(sharing: gate, random: &random)
            let weight = try backend.makeLinear([gate.weight, up.weight], bias: [gate.bias, up.bias], combine: .gateUp)
            #expect(weight.outFeatures == 2 * shape.n)
            let gates = gate.products(rounding: rounding(setting))
            let ups = up.products(rounding: rounding(setting))
            for activation in activations {
                let out = GuardedRows(rows: shape.t, columns: shape.n, value: 0)
                try backend.linear(gate.x.tensor, weight, epilogue: .gated(activation), into: out.tensor)
                let error = nmse(out.values, gates.indices.map { reference(activation, gates[$0]) * ups[$0] })
                #expect(error < 1e-11, "\(activation) \(shape): \(error)")
                #expect(out.guardsAreIntact, "\(activation) \(shape) wrote outside its rows")
            }
        }
    }

    @Test(arguments: Setting.all.filter { $0.threads == 1 })
    func concatenatesParts(setting: Setting) throws {
        let backend = try CPUBackend(threads: 1, mode: setting.mode, instructionSet: setting.instructionSet)
        var random = Random(seed: 4)
        let q = Problem(t: 5, n: 40, k: 31, source: setting.source, random: &random)
        let k = Problem(sharing: q, n: 7, random: &random)
        let v = Problem(sharing: q, n: 50, random: &random)
        // A part without a bias counts as zeros.
        let weight = try backend.makeLinear([q.weight, k.weight, v.weight], bias: [q.bias, nil, v.bias], combine: .concatenated)
        let out = GuardedRows(rows: 5, columns: 97, value: 0)
        try backend.linear(q.x.tensor, weight, epilogue: .store, into: out.tensor)
        let parts = [
            (q.products(rounding: rounding(setting)), 0, 40),
            (k.products(rounding: rounding(setting), biased: false), 40, 7),
            (v.products(rounding: rounding(setting)), 47, 50),
        ]
        for (expected, first, count) in parts {
            let values = (0..<5).flatMap { row in (0..<count).map { out.values[row * 97 + first + $0] } }
            #expect(nmse(values, expected) < 1e-11)
        }
    }

    /// The result of a row has the same bits alone, in a small batch and in a large one, on one thread and on two.
    @Test(arguments: Setting.all.filter { $0.source == .bfloat16 && $0.threads == 1 })
    func rowsDoNotDependOnTheirBatch(setting: Setting) throws {
        let one = try CPUBackend(threads: 1, mode: setting.mode, instructionSet: setting.instructionSet)
        let two = try CPUBackend(threads: 2, mode: setting.mode, instructionSet: setting.instructionSet)
        var random = Random(seed: 5)
        for (n, k) in [(75, 1001), (128, 384)] {
            let t = 310
            let problem = Problem(t: t, n: n, k: k, source: setting.source, random: &random)
            let weight = try one.makeLinear([problem.weight], bias: [problem.bias], combine: .concatenated)
            let all = GuardedRows(rows: t, columns: n, value: 0)
            try one.linear(problem.x.tensor, weight, epilogue: .activation(.silu), into: all.tensor)
            for size in [1, 2, 3, 5, 8, 11, 12, 13, 100] {
                let rows = t - size - 1..<t - 1
                let some = GuardedRows(rows: size, columns: n, value: 0)
                try two.linear(problem.x.tensor.rows(rows), weight, epilogue: .activation(.silu), into: some.tensor)
                #expect(some.values == Array(all.values[rows.lowerBound * n..<rows.upperBound * n]), "\(size) rows")
            }
        }
    }

    /// Activations in float32 are accurate relative to the true value, far out too.
    @Test(arguments: InstructionSet.available)
    func activationsAreAccurate(level: InstructionSet) throws {
        let backend = try CPUBackend(threads: 1, mode: .exact, instructionSet: level)
        // A weight of one passes values through to the epilogue.
        var unit: [Float] = [1]
        let weight = try backend.makeLinear([host("one", &unit, [1, 1])], bias: nil, combine: .concatenated)
        let values =
            stride(from: -30.0, through: 30.0, by: 0.0037).map { Float($0) } + [
                0, -0.0, 1e-8, -1e-8, 1e-30, 100, -100, 3e38, -3e38,
            ]
        let x = GuardedRows(rows: values.count, columns: 1, value: 0)
        x.fill(values)
        let out = GuardedRows(rows: values.count, columns: 1, value: 0)
        for activation in activations {
            try backend.linear(x.tensor, weight, epilogue: .activation(activation), into: out.tensor)
            var worst = 0.0
            for (value, result) in zip(values, out.values) {
                let expected = reference(activation, Double(value))
                // Tails end near 1e-37, where exponentials saturate; below 1e-30 the absolute error counts.
                worst = max(worst, abs(Double(result) - expected) / max(abs(expected), 1e-30))
            }
            // e^-x turns the rounding of its argument, up to 69 here and rounded three times, into relative error.
            #expect(worst < 1.3e-5, "\(activation): \(worst)")
            var near = 0.0
            for (value, result) in zip(values, out.values) where abs(value) < 4 {
                let expected = reference(activation, Double(value))
                near = max(near, abs(Double(result) - expected) / max(abs(expected), 1e-30))
            }
            #expect(near < 1.2e-6, "\(activation): \(near)")
        }
        // NaN is not hidden.
        x.fill([.nan] + values.dropFirst())
        for activation in activations {
            try backend.linear(x.tensor, weight, epilogue: .activation(activation), into: out.tensor)
            #expect(out.values[0].isNaN, "\(activation)")
        }
    }

    @Test(arguments: InstructionSet.available)
    func convertsTensors(level: InstructionSet) throws {
        let backend = try CPUBackend(threads: 2, mode: .exact, instructionSet: level)
        // Every half-precision number, to float32 and back.
        var halves = (0..<65536).map { UInt16($0) }
        let source = halves.withUnsafeMutableBytes { bytes in
            HostTensor(
                name: "halves", dtype: .float16, dimensions: [256, 256], bytes: UnsafeRawBufferPointer(bytes), owner: backend)
        }
        let (floats, floatOwner) = try backend.makeTensor(source, dtype: .float32)
        let values = UnsafeBufferPointer(start: floats.pointer.assumingMemoryBound(to: Float.self), count: 65536)
        let wrong = halves.indices.filter { halves[$0] & 0x7c00 != 0x7c00 || halves[$0] & 0x3ff == 0 }
            .filter { values[$0] != halfValue(halves[$0]) }
        #expect(wrong.isEmpty)
        let back = HostTensor(
            name: "back", dtype: .float32, dimensions: [65536], bytes: UnsafeRawBufferPointer(values), owner: floatOwner)
        let (again, againOwner) = try backend.makeTensor(back, dtype: .float16)
        let result = UnsafeBufferPointer(start: again.pointer.assumingMemoryBound(to: UInt16.self), count: 65536)
        for index in halves.indices {
            if values[index].isNaN {
                #expect(result[index] & 0x7c00 == 0x7c00 && result[index] & 0x3ff != 0)
            } else {
                #expect(result[index] == halves[index])
            }
        }
        _ = againOwner

        // Ties to even, overflow, NaN.
        var ties: [Float] = [
            1, 1 + 0x1p-8, 1 + 0x3p-8, -1 - 0x1p-8, .greatestFiniteMagnitude, .infinity, .nan, 0, -0.0, 0x1p-130,
        ]
        let (rounded, roundedOwner) = try backend.makeTensor(host("ties", &ties, [ties.count]), dtype: .bfloat16)
        let bits = UnsafeBufferPointer(start: rounded.pointer.assumingMemoryBound(to: UInt16.self), count: ties.count)
        #expect(Array(bits.prefix(6)) == [0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f80, 0x7f80])
        #expect(bits[6] & 0x7fff > 0x7f80)
        #expect(Array(bits.suffix(3)) == [0, 0x8000, 0x0008])
        _ = roundedOwner
    }

    @Test func refusesWhatDoesNotFit() throws {
        let backend = try CPUBackend(threads: 1, mode: .fast)
        var values = [Float](repeating: 1, count: 12)
        func part(_ name: String, _ dimensions: [Int], _ dtype: DType = .float32) -> HostTensor {
            var tensor = host(name, &values, dimensions)
            if dtype != .float32 {
                let count = dimensions.reduce(1, *) * dtype.size
                tensor = HostTensor(
                    name: name, dtype: dtype, dimensions: dimensions,
                    bytes: UnsafeRawBufferPointer(rebasing: tensor.bytes[..<count]), owner: backend)
            }
            return tensor
        }
        func kind(_ body: () throws -> Void) -> TensorError.Kind? {
            do { try body() } catch let error as TensorError { return error.kind } catch {}
            return nil
        }
        #expect(
            kind { _ = try backend.makeLinear([part("w", [3, 4], .float8e4m3)], bias: nil, combine: .concatenated) }
                == .unsupported)
        #expect(
            kind { _ = try backend.makeLinear([part("w", [3, 4], .int8)], bias: nil, combine: .concatenated) } == .unsupported)
        #expect(kind { _ = try backend.makeLinear([], bias: nil, combine: .concatenated) } == .shapeMismatch)
        #expect(
            kind { _ = try backend.makeLinear([part("a", [3, 4]), part("b", [3, 3])], bias: nil, combine: .concatenated) }
                == .shapeMismatch)
        #expect(kind { _ = try backend.makeLinear([part("a", [3, 4])], bias: nil, combine: .gateUp) } == .shapeMismatch)
        #expect(
            kind { _ = try backend.makeLinear([part("a", [3, 4])], bias: [part("b", [4])], combine: .concatenated) }
                == .shapeMismatch)
        let short = HostTensor(
            name: "short", dtype: .float32, dimensions: [4, 4], bytes: part("a", [3, 4]).bytes, owner: backend)
        #expect(kind { _ = try backend.makeLinear([short], bias: nil, combine: .concatenated) } == .shapeMismatch)

        let weight = try backend.makeLinear([part("w", [3, 4])], bias: nil, combine: .concatenated)
        let x = GuardedRows(rows: 2, columns: 4, value: 1)
        let out = GuardedRows(rows: 2, columns: 3, value: 1)
        #expect(kind { try backend.linear(x.tensor, weight, epilogue: .gated(.silu), into: out.tensor) } == .unsupported)
        #expect(kind { try backend.linear(out.tensor, weight, epilogue: .store, into: out.tensor) } == .shapeMismatch)
        #expect(kind { try backend.linear(x.tensor, weight, epilogue: .store, into: x.tensor) } == .shapeMismatch)
        #expect(
            kind { try backend.linear(x.tensor, weight, epilogue: .scaledAccumulate(scale: x.tensor), into: out.tensor) }
                == .shapeMismatch)
        #expect(kind { try backend.linear(x.tensor, weight, epilogue: .store, into: out.tensor) } == nil)
    }

    @Test func flattensConvolutions() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        var random = Random(seed: 6)
        let problem = Problem(t: 4, n: 6, k: 3 * 2 * 5 * 5, source: .float32, random: &random)
        let convolution = HostTensor(
            name: "conv", dtype: .float32, dimensions: [6, 3, 2, 5, 5], bytes: problem.weight.bytes, owner: problem.weight.owner)
        let weight = try backend.makeLinear([convolution], bias: nil, combine: .concatenated)
        #expect(weight.inFeatures == 150 && weight.outFeatures == 6)
        let out = GuardedRows(rows: 4, columns: 6, value: 0)
        try backend.linear(problem.x.tensor, weight, epilogue: .store, into: out.tensor)
        #expect(nmse(out.values, problem.products(rounding: .none, biased: false)) < 1e-11)
    }

    /// No rows is not an error: an empty batch multiplies nothing.
    @Test func acceptsNoRows() throws {
        let backend = try CPUBackend(threads: 2, mode: .fast)
        var random = Random(seed: 7)
        let problem = Problem(t: 1, n: 40, k: 8, source: .bfloat16, random: &random)
        let weight = try backend.makeLinear([problem.weight], bias: nil, combine: .concatenated)
        let out = GuardedRows(rows: 1, columns: 40, value: 0)
        try backend.linear(problem.x.tensor.rows(0..<0), weight, epilogue: .store, into: out.tensor.rows(0..<0))
        #expect(out.values.allSatisfy { $0 == 0 })
    }
}

// MARK: Reference

private let activations: [Activation] = [.gelu, .geluTanh, .quickGELU, .silu, .relu]

private func reference(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .gelu: 0.5 * x * erfc(-x / 2.0.squareRoot())
    case .geluTanh: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .quickGELU: x / (1 + exp(-1.702 * x))
    case .silu: x / (1 + exp(-x))
    case .relu: max(x, 0)
    }
}

/// What a mode rounds to bfloat16 before it multiplies.
private enum Rounding { case none, weights, both }

private func rounding(_ setting: LinearTests.Setting) -> Rounding {
    setting.mode == .exact ? .none : setting.instructionSet == .avx512bf16 ? .both : .weights
}

/// Round to nearest even at 8 bits of significand.
private func bfloat(_ value: Float) -> Float {
    let bits = value.bitPattern
    return Float(bitPattern: (bits &+ 0x7fff &+ ((bits >> 16) & 1)) & 0xffff_0000)
}

private func halfValue(_ bits: UInt16) -> Float {
    let sign: Float = bits & 0x8000 == 0 ? 1 : -1
    let exponent = Int(bits >> 10) & 31
    let fraction = Float(bits & 0x3ff)
    if exponent == 31 { return sign * .infinity }
    if exponent == 0 { return sign * fraction * 0x1p-24 }
    return sign * (1024 + fraction) * Float(sign: .plus, exponent: exponent - 25, significand: 1)
}

private func nmse(_ values: [Float], _ expected: [Double]) -> Double {
    var error = 0.0
    var power = 0.0
    for (value, expected) in zip(values, expected) {
        let difference = Double(value) - expected
        error += difference * difference
        power += expected * expected
    }
    return power > 0 ? error / power : error
}

/// A seeded generator (splitmix64).
private struct Random {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Roughly normal, deviation one.
    mutating func normal() -> Float {
        (0..<4).reduce(Float(0)) { sum, _ in sum + Float(next() >> 40) / Float(1 << 24) - 0.5 } * 1.7320508
    }
}

/// Float32 rows with a stride and guard values around and between them.
private final class GuardedRows {
    private static let margin = 40
    private static let guardValue: Float = -12345.5
    let rows: Int
    let columns: Int
    private let stride: Int
    private let memory: UnsafeMutableBufferPointer<Float>

    init(rows: Int, columns: Int, value: Float) {
        self.rows = rows
        self.columns = columns
        stride = columns + 3
        memory = .allocate(capacity: rows * stride + 2 * GuardedRows.margin)
        memory.initialize(repeating: GuardedRows.guardValue)
        fill([Float](repeating: value, count: rows * columns))
    }

    deinit { memory.deallocate() }

    func fill(_ values: [Float]) {
        for index in 0..<rows * columns { memory[place(index)] = values[index] }
    }

    private func place(_ index: Int) -> Int { GuardedRows.margin + index / columns * stride + index % columns }

    var values: [Float] { (0..<rows * columns).map { memory[place($0)] } }

    var tensor: Tensor {
        Tensor(
            pointer: UnsafeMutableRawPointer(memory.baseAddress! + GuardedRows.margin), dtype: .float32,
            shape: Shape(rows, columns),
            rowStride: stride)
    }

    var guardsAreIntact: Bool {
        memory.indices.allSatisfy { index in
            let inside = index - GuardedRows.margin
            let isData = inside >= 0 && inside < rows * stride && inside % stride < columns
            return isData || memory[index] == GuardedRows.guardValue
        }
    }
}

/// Bytes of a host tensor at an address that is aligned to nothing.
private final class Bytes {
    let memory: UnsafeMutableRawBufferPointer
    init(count: Int) { memory = .allocate(byteCount: count + 1, alignment: 64) }
    deinit { memory.deallocate() }
    var unaligned: UnsafeMutableRawPointer { memory.baseAddress! + 1 }
}

private func host(_ name: String, _ values: inout [Float], _ dimensions: [Int]) -> HostTensor {
    let bytes = Bytes(count: values.count * 4)
    values.withUnsafeBytes { bytes.unaligned.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    return HostTensor(
        name: name, dtype: .float32, dimensions: dimensions,
        bytes: UnsafeRawBufferPointer(start: bytes.unaligned, count: values.count * 4), owner: bytes)
}

/// Random operands and their product in double precision.
private struct Problem {
    let t: Int
    let n: Int
    let k: Int
    let x: GuardedRows
    let weight: HostTensor
    let bias: HostTensor
    private let weightValues: [Float]
    private let biasValues: [Float]

    init(t: Int, n: Int, k: Int, source: DType, random: inout Random) {
        let x = GuardedRows(rows: t, columns: k, value: 0)
        var values = (0..<t * k).map { _ in random.normal() }
        // Outliers, as activations have them: a few values far larger than the rest.
        for _ in 0..<max(1, values.count / 200) { values[Int(random.next() % UInt64(values.count))] *= 60 }
        x.fill(values)
        self.init(x: x, n: n, source: source, random: &random)
    }

    init(sharing other: Problem, n: Int? = nil, random: inout Random) {
        self.init(x: other.x, n: n ?? other.n, source: other.weight.dtype, random: &random)
    }

    private init(x: GuardedRows, n: Int, source: DType, random: inout Random) {
        (t, self.n, k) = (x.rows, n, x.columns)
        self.x = x
        let deviation = 1 / Float(k).squareRoot()
        var stored = [Float]()
        let bytes = Bytes(count: n * k * source.size)
        for index in 0..<n * k {
            var value = random.normal() * deviation
            switch source {
            case .bfloat16:
                value = bfloat(value)
                bytes.unaligned.storeBytes(of: UInt16(value.bitPattern >> 16), toByteOffset: 2 * index, as: UInt16.self)
            case .float16:
                // A multiple of 2^-14 below 2^-3 times a sign is exact in half precision.
                let steps = Int(value * 16384) & 0x3ff
                let negative = value < 0
                value = Float(steps) / 16384 * (negative ? -1 : 1)
                var half: UInt16 = negative ? 0x8000 : 0
                if steps > 0 {
                    let top = Int.bitWidth - 1 - steps.leadingZeroBitCount
                    half |= UInt16(top + 1) << 10 | UInt16((steps << (10 - top)) & 0x3ff)
                }
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
        var biasValues = (0..<n).map { _ in random.normal() }
        bias = host("bias", &biasValues, [n])
        self.biasValues = biasValues
    }

    func products(rounding: Rounding, biased: Bool = true) -> [Double] {
        let x = self.x.values.map { Double(rounding == .both ? bfloat($0) : $0) }
        let w = weightValues.map { Double(rounding == .none ? $0 : bfloat($0)) }
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
