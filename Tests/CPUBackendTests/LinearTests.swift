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
        var noise = Noise(1)
        for shape in LinearTests.shapes {
            let problem = Problem(t: shape.t, n: shape.n, k: shape.k, source: setting.source, noise: &noise)
            let weight = try backend.makeLinear([problem.weight], bias: [problem.bias], combine: .concatenated)
            let exact = problem.products(rounding: .none)
            let rounded = problem.products(rounding: rounding(setting))

            let out = guardedRows(shape.t, shape.n)
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
        var noise = Noise(2)
        for shape in [(t: 1, n: 45, k: 70), (t: 3, n: 64, k: 200), (t: 30, n: 45, k: 70)] {
            let problem = Problem(t: shape.t, n: shape.n, k: shape.k, source: setting.source, noise: &noise)
            let weight = try backend.makeLinear([problem.weight], bias: [problem.bias], combine: .concatenated)
            let sums = problem.products(rounding: rounding(setting))
            let before = (0..<shape.t * shape.n).map { _ in noise.normal() }
            let scaleValues = (0..<shape.n).map { _ in noise.normal() }
            let scale = guardedRows(1, shape.n)
            scale.fill(scaleValues)
            let scaleTensor = Tensor(pointer: scale.tensor.pointer, dtype: .float32, shape: Shape(shape.n))

            func check(_ epilogue: LinearEpilogue, _ name: String, _ expected: (Double, Int) -> Double) throws {
                let out = guardedRows(shape.t, shape.n)
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
        var noise = Noise(3)
        // Halves that fill panels and halves that do not.
        for shape in [(t: 1, n: 16, k: 40), (t: 2, n: 21, k: 65), (t: 12, n: 5, k: 400), (t: 31, n: 37, k: 66)] {
            let gate = Problem(t: shape.t, n: shape.n, k: shape.k, source: setting.source, noise: &noise)
            let up = Problem(sharing: gate, noise: &noise)
            let weight = try backend.makeLinear([gate.weight, up.weight], bias: [gate.bias, up.bias], combine: .gateUp)
            #expect(weight.outFeatures == 2 * shape.n)
            let gates = gate.products(rounding: rounding(setting))
            let ups = up.products(rounding: rounding(setting))
            for activation in activations {
                let out = guardedRows(shape.t, shape.n)
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
        var noise = Noise(4)
        let q = Problem(t: 5, n: 40, k: 31, source: setting.source, noise: &noise)
        let k = Problem(sharing: q, n: 7, noise: &noise)
        let v = Problem(sharing: q, n: 50, noise: &noise)
        // A part without a bias counts as zeros.
        let weight = try backend.makeLinear([q.weight, k.weight, v.weight], bias: [q.bias, nil, v.bias], combine: .concatenated)
        let out = guardedRows(5, 97)
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
        var noise = Noise(5)
        for (n, k) in [(75, 1001), (128, 384)] {
            let t = 310
            let problem = Problem(t: t, n: n, k: k, source: setting.source, noise: &noise)
            let weight = try one.makeLinear([problem.weight], bias: [problem.bias], combine: .concatenated)
            let all = guardedRows(t, n)
            try one.linear(problem.x.tensor, weight, epilogue: .activation(.silu), into: all.tensor)
            for size in [1, 2, 3, 5, 8, 11, 12, 13, 100] {
                let rows = t - size - 1..<t - 1
                let some = guardedRows(size, n)
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
        let x = guardedRows(values.count, 1)
        x.fill(values)
        let out = guardedRows(values.count, 1)
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
            .filter { values[$0] != halfToFloat(halves[$0]) }
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
        let x = guardedRows(2, 4)
        let out = guardedRows(2, 3)
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
        var noise = Noise(6)
        let problem = Problem(t: 4, n: 6, k: 3 * 2 * 5 * 5, source: .float32, noise: &noise)
        let convolution = HostTensor(
            name: "conv", dtype: .float32, dimensions: [6, 3, 2, 5, 5], bytes: problem.weight.bytes, owner: problem.weight.owner)
        let weight = try backend.makeLinear([convolution], bias: nil, combine: .concatenated)
        #expect(weight.inFeatures == 150 && weight.outFeatures == 6)
        let out = guardedRows(4, 6)
        try backend.linear(problem.x.tensor, weight, epilogue: .store, into: out.tensor)
        #expect(nmse(out.values, problem.products(rounding: .none, biased: false)) < 1e-11)
    }

    /// Small weights share blocks of memory: none may overlap another or go when another does.
    @Test func weightsThatShareMemoryAreApart() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        var noise = Noise(8)
        let x = guardedRows(1, 1024)
        x.fill((0..<1024).map { _ in noise.normal() })
        // 80 weights of 1 MB fill more than two blocks; every third is dropped again.
        var kept: [(weight: LinearWeight, expected: Double)] = []
        for index in 0..<80 {
            var values = [Float](repeating: Float(index + 1), count: 256 * 1024)
            let weight = try backend.makeLinear([host("w\(index)", &values, [256, 1024])], bias: nil, combine: .concatenated)
            if index % 3 != 0 { kept.append((weight, Double(index + 1) * x.values.reduce(0) { $0 + Double($1) })) }
        }
        for (weight, expected) in kept {
            let out = guardedRows(1, 256)
            try backend.linear(x.tensor, weight, epilogue: .store, into: out.tensor)
            #expect(nmse(out.values, [Double](repeating: expected, count: 256)) < 1e-9)
        }
    }

    /// No rows is not an error: an empty batch multiplies nothing.
    @Test func acceptsNoRows() throws {
        let backend = try CPUBackend(threads: 2, mode: .fast)
        var noise = Noise(7)
        let problem = Problem(t: 1, n: 40, k: 8, source: .bfloat16, noise: &noise)
        let weight = try backend.makeLinear([problem.weight], bias: nil, combine: .concatenated)
        let out = guardedRows(1, 40)
        try backend.linear(problem.x.tensor.rows(0..<0), weight, epilogue: .store, into: out.tensor.rows(0..<0))
        #expect(out.values.allSatisfy { $0 == 0 })
    }
}
