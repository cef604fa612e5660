import CPUBackend
import Tensors
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Norms, rotary embedding, element-wise operations and rows against references in double precision.
@Suite struct RowOperationsTests {
    /// Rows, heads, width: single elements, below a vector, odd tails, several vectors, enough for several threads.
    static let shapes: [(Int, Int, Int)] = [
        (1, 1, 1), (3, 1, 7), (2, 3, 16), (5, 1, 33), (4, 2, 80), (67, 1, 1027), (33, 12, 128),
    ]

    private func backends() throws -> [CPUBackend] {
        try InstructionSet.available.flatMap { level in
            try [1, 2].map { try CPUBackend(threads: $0, mode: .exact, instructionSet: level) }
        }
    }

    private func axes(_ t: Int, _ h: Int, _ w: Int) -> Shape { h == 1 ? Shape(t, w) : Shape(t, h, w) }

    @Test func rmsNormAgrees() throws {
        for backend in try backends() {
            for (t, h, w) in Self.shapes {
                var noise = Noise(UInt64(t * 1000 + w))
                let values = noise.values(t * h * w, scale: 2, outlier: 1000)
                let weights = noise.values(w)
                let x = GuardedTensor(axes(t, h, w), gap: 3, values: values)
                let weight = GuardedTensor(Shape(w), values: weights)
                let out = GuardedTensor(axes(t, h, w), gap: 5)
                let want = (0..<t * h).flatMap { row -> [Double] in
                    let line = values[row * w..<(row + 1) * w].map(Double.init)
                    let factor = 1 / (line.reduce(0) { $0 + $1 * $1 } / Double(w) + 1e-6).squareRoot()
                    return zip(line, weights).map { $0 * factor * Double($1) }
                }
                try backend.rmsNorm(x.tensor, weight: weight.tensor, epsilon: 1e-6, into: out.tensor)
                #expect(relativeError(out.values, want) < 3e-7, "\(backend.instructionSet) \(t) \(h) \(w)")
                #expect(out.guardsAreIntact)
                try backend.rmsNorm(x.tensor, weight: weight.tensor, epsilon: 1e-6, into: x.tensor)
                #expect(x.values == out.values, "in place")
            }
        }
    }

    @Test(arguments: [true, false]) func layerNormAgrees(biased: Bool) throws {
        for backend in try backends() {
            for (t, h, w) in Self.shapes {
                var noise = Noise(UInt64(t * 1000 + w))
                // A common offset, which a one-pass variance would lose.
                let values = noise.values(t * h * w, scale: 2, outlier: 100).map { $0 + 50 }
                let (weights, biases) = (noise.values(w), noise.values(w))
                let x = GuardedTensor(axes(t, h, w), gap: 3, values: values)
                let weight = GuardedTensor(Shape(w), values: weights)
                let bias = biased ? GuardedTensor(Shape(w), values: biases) : nil
                let out = GuardedTensor(axes(t, h, w), gap: 5)
                let want = (0..<t * h).flatMap { row -> [Double] in
                    let line = values[row * w..<(row + 1) * w].map(Double.init)
                    let mean = line.reduce(0, +) / Double(w)
                    let factor = 1 / (line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(w) + 1e-5).squareRoot()
                    return (0..<w).map { (line[$0] - mean) * factor * Double(weights[$0]) + (biased ? Double(biases[$0]) : 0) }
                }
                try backend.layerNorm(x.tensor, weight: weight.tensor, bias: bias?.tensor, epsilon: 1e-5, into: out.tensor)
                #expect(relativeError(out.values, want) < 4e-6 || w == 1, "\(backend.instructionSet) \(t) \(h) \(w)")
                #expect(out.guardsAreIntact)
                try backend.layerNorm(x.tensor, weight: weight.tensor, bias: bias?.tensor, epsilon: 1e-5, into: x.tensor)
                #expect(x.values == out.values, "in place")
            }
        }
    }

    @Test(arguments: [RotaryStyle.halves, .interleaved]) func rotateAgrees(style: RotaryStyle) throws {
        for backend in try backends() {
            // Tokens, heads, head size, R: whole heads, partial rotary, odd R.
            for (t, h, e, r) in [(1, 1, 2, 1), (3, 2, 16, 8), (5, 3, 80, 40), (7, 4, 80, 20), (4, 2, 24, 5), (70, 12, 128, 64)] {
                var noise = Noise(UInt64(t + e))
                let values = noise.values(t * h * e)
                let angles = noise.values(t * r, scale: 3)
                let x = GuardedTensor(Shape(t, h, e), gap: 8, values: values)
                let cosine = GuardedTensor(Shape(t, r), values: angles.map { Float(cos(Double($0))) })
                let sine = GuardedTensor(Shape(t, r), gap: 2, values: angles.map { Float(sin(Double($0))) })
                var want = values.map(Double.init)
                for token in 0..<t {
                    for head in 0..<h {
                        for i in 0..<r {
                            let base = (token * h + head) * e
                            let (a, b) = style == .halves ? (base + i, base + i + r) : (base + 2 * i, base + 2 * i + 1)
                            let angle = Double(angles[token * r + i])
                            (want[a], want[b]) = (
                                want[a] * cos(angle) - want[b] * sin(angle), want[b] * cos(angle) + want[a] * sin(angle)
                            )
                        }
                    }
                }
                try backend.rotate(x.tensor, cosine: cosine.tensor, sine: sine.tensor, style: style)
                #expect(relativeError(x.values, want) < 2e-7, "\(backend.instructionSet) \(t) \(h) \(e) \(r)")
                #expect(x.guardsAreIntact)
            }
        }
    }

    @Test func addAndScaleAgree() throws {
        for backend in try backends() {
            for (t, h, w) in Self.shapes {
                var noise = Noise(UInt64(t + w))
                let (a, b) = (noise.values(t * h * w), noise.values(t * h * w))
                let x = GuardedTensor(axes(t, h, w), gap: 1, values: a)
                let out = GuardedTensor(axes(t, h, w), gap: 4, values: b)
                try backend.add(x.tensor, into: out.tensor)
                #expect(out.values == zip(a, b).map { $0 + $1 })
                try backend.scale(out.tensor, by: 0.3)
                #expect(out.values == zip(a, b).map { ($0 + $1) * 0.3 })
                #expect(out.guardsAreIntact)
            }
        }
    }

    @Test(arguments: [Activation.gelu, .geluTanh, .quickGELU, .silu, .relu, .tanh]) func activateAgrees(activation: Activation)
        throws
    {
        func reference(_ x: Double) -> Double {
            switch activation {
            case .gelu: x / 2 * erfc(-x / 2.0.squareRoot())
            case .geluTanh: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
            case .quickGELU: x / (1 + exp(-1.702 * x))
            case .silu: x / (1 + exp(-x))
            case .relu: max(x, 0)
            case .tanh: tanh(x)
            }
        }
        let inputs =
            stride(from: Float(-20), through: 20, by: 0.0137).map { $0 } + [0, -0.0, 1e-8, -1e-8, 1e4, -1e4, 3e38, -3e38]
        for backend in try backends() {
            for width in [1, 5, 16, 83, inputs.count] {
                let rows = (inputs.count + width - 1) / width
                let values = (0..<rows * width).map { inputs[$0 % inputs.count] }
                let x = GuardedTensor(Shape(rows, width), gap: 2, values: values)
                try backend.activate(x.tensor, activation)
                for (got, input) in zip(x.values, values) {
                    let want = reference(Double(input))
                    // Far out on the negative side the value is e to a large power, whose argument is rounded.
                    let tolerance = input > -3 ? 1e-6 : 8e-6
                    #expect(
                        abs(Double(got) - want) <= tolerance * abs(want) + 1e-30, "\(activation)(\(input)) = \(got), not \(want)")
                }
                #expect(x.guardsAreIntact)
            }
        }
    }

    @Test(arguments: [DType.float32, .bfloat16, .float16]) func gatherAndAddRowsAgree(dtype: DType) throws {
        for backend in try backends() {
            for (n, t, w) in [(1, 1, 1), (7, 5, 19), (50, 300, 131)] {
                var noise = Noise(UInt64(n + w))
                let table = GuardedTensor(Shape(n, w), dtype: dtype, gap: 2, values: noise.values(n * w, outlier: 1e-6))
                let indices = (0..<t).map { _ in Int32(noise.int(0..<n)) }
                let index = GuardedTensor(indices: indices)
                let out = GuardedTensor(Shape(t, w), gap: 3)
                try backend.gatherRows(table.tensor, indices: index.tensor, into: out.tensor)
                let rows = indices.flatMap { row in (0..<w).map { table[Int(row) * w + $0] } }
                #expect(out.values == rows)
                try backend.addRows(table.tensor, indices: index.tensor, into: out.tensor)
                #expect(out.values == rows.map { $0 + $0 })
                #expect(out.guardsAreIntact)
            }
        }
    }

    @Test(arguments: [DType.float32, .bfloat16, .float16]) func weightedRowsAreAdded(dtype: DType) throws {
        for backend in try backends() {
            for (n, t, w, taps) in [(1, 1, 1, 1), (7, 5, 19, 4), (50, 300, 131, 16)] {
                var noise = Noise(UInt64(n + w))
                let table = GuardedTensor(Shape(n, w), dtype: dtype, gap: 2, values: noise.values(n * w))
                let before = noise.values(t * w)
                let out = GuardedTensor(Shape(t, w), gap: 3, values: before)
                let indices = (0..<t * taps).map { _ in Int32(noise.int(0..<n)) }
                let weights = GuardedTensor(Shape(t, taps), values: noise.values(t * taps))
                try backend.addRows(
                    table.tensor, indices: GuardedTensor(indices: indices).tensor, weights: weights.tensor, into: out.tensor)
                for (place, value) in out.values.enumerated() {
                    let (row, column) = (place / w, place % w)
                    let terms = (0..<taps).map {
                        Double(weights[row * taps + $0] * table[Int(indices[row * taps + $0]) * w + column])
                    }
                    let want = terms.reduce(Double(before[place]), +)
                    let size = terms.reduce(abs(Double(before[place]))) { $0 + abs($1) }
                    #expect(abs(Double(value) - want) <= 1e-6 * size)
                }
                #expect(out.guardsAreIntact)
                #expect(throws: TensorError.self) {
                    try backend.addRows(
                        table.tensor, indices: GuardedTensor(indices: Array(indices.dropLast())).tensor, weights: weights.tensor,
                        into: out.tensor)
                }
            }
        }
    }

    @Test func float16KeepsItsSpecialValues() throws {
        let patterns: [UInt16] = [0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x3c00, 0x7bff, 0x7c00, 0xfc00, 0x7e01]
        for backend in try backends() {
            let table = GuardedTensor(Shape(1, patterns.count), dtype: .float16)
            for (i, pattern) in patterns.enumerated() {
                table.tensor.pointer.storeBytes(of: pattern, toByteOffset: 2 * i, as: UInt16.self)
            }
            let out = GuardedTensor(Shape(1, patterns.count))
            try backend.gatherRows(table.tensor, indices: GuardedTensor(indices: [0]).tensor, into: out.tensor)
            for (i, pattern) in patterns.enumerated() {
                let want = halfToFloat(pattern)
                #expect(out[i] == want && out[i].sign == want.sign || out[i].isNaN && want.isNaN, "\(pattern)")
            }
        }
    }

    @Test(arguments: [DType.float32, .bfloat16, .int32]) func scatterRowsAgrees(dtype: DType) throws {
        for backend in try backends() {
            var noise = Noise(3)
            let (n, t, w) = (40, 17, 13)
            let indices = Array(noise.shuffled(n).prefix(t))
            let source = GuardedTensor(Shape(t, w), dtype: dtype, gap: 1, values: noise.values(t * w))
            let before = noise.values(n * w)
            let out = GuardedTensor(Shape(n, w), dtype: dtype, gap: 2, values: before)
            var want = GuardedTensor(Shape(n, w), dtype: dtype, values: before).values
            for (row, index) in indices.enumerated() {
                for i in 0..<w { want[Int(index) * w + i] = source[row * w + i] }
            }
            try backend.scatterRows(source.tensor, indices: GuardedTensor(indices: indices).tensor, into: out.tensor)
            #expect(out.values == want)
            #expect(out.guardsAreIntact)
        }
    }

    @Test func stridedRowsAreDownloadedTogether() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        let x = GuardedTensor(Shape(3, 5), gap: 3, values: (0..<15).map(Float.init))
        var rows = [Float](repeating: -1, count: 15)
        try rows.withUnsafeMutableBytes { try backend.download(x.tensor, into: $0) }
        #expect(rows == (0..<15).map(Float.init))
        #expect(throws: TensorError.self) {
            try rows.withUnsafeMutableBytes { try backend.download(x.tensor.rows(0..<2), into: $0) }
        }
    }

    @Test(arguments: [DType.float32, .bfloat16]) func writeCachePlacesEveryHead(dtype: DType) throws {
        for backend in try backends() {
            for (blocks, heads, blockSize, size, t) in [(3, 1, 1, 8, 2), (5, 2, 4, 24, 9), (4, 3, 64, 128, 130)] {
                var noise = Noise(UInt64(t))
                let slots = noise.shuffled(blocks * blockSize).prefix(t).enumerated().map { $0 % 5 == 3 ? -1 : $1 }
                let (k, v) = (noise.values(t * heads * size, outlier: 1e6), noise.values(t * heads * size))
                let keys = GuardedTensor(Shape(t, heads, size), gap: 8, values: k)
                let values = GuardedTensor(Shape(t, heads, size), gap: 16, values: v)
                let shape = Shape(blocks, heads, blockSize, size)
                let empty = [Float](repeating: 0, count: shape.count)
                let cachedKeys = GuardedTensor(shape, dtype: dtype, values: empty)
                let cachedValues = GuardedTensor(shape, dtype: dtype, values: empty)
                try backend.writeCache(
                    keys: keys.tensor, values: values.tensor, slots: GuardedTensor(indices: slots).tensor,
                    cache: KVCacheLayer(keys: cachedKeys.tensor, values: cachedValues.tensor))
                var (wantKeys, wantValues) = (empty, empty)
                for (token, slot) in slots.enumerated() where slot >= 0 {
                    for head in 0..<heads {
                        for i in 0..<size {
                            let place =
                                ((Int(slot) / blockSize * heads + head) * blockSize + Int(slot) % blockSize) * size + i
                            let from = (token * heads + head) * size + i
                            wantKeys[place] = dtype == .float32 ? k[from] : roundedToBF16(k[from])
                            wantValues[place] = dtype == .float32 ? v[from] : roundedToBF16(v[from])
                        }
                    }
                }
                #expect(cachedKeys.values == wantKeys)
                #expect(cachedValues.values == wantValues)
                #expect(cachedKeys.guardsAreIntact && cachedValues.guardsAreIntact)
            }
        }
    }

    @Test func misfitsThrow() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        let (a, b) = (GuardedTensor(Shape(2, 4)), GuardedTensor(Shape(2, 5)))
        let half = GuardedTensor(Shape(2, 4), dtype: .bfloat16)
        #expect(throws: TensorError.self) { try backend.add(a.tensor, into: b.tensor) }
        #expect(throws: TensorError.self) { try backend.add(half.tensor, into: a.tensor) }
        #expect(throws: TensorError.self) {
            try backend.rmsNorm(a.tensor, weight: b.tensor, epsilon: 1e-6, into: a.tensor)
        }
        for bad: [Int32] in [[0, 2], [-1, 0], [0]] {
            #expect(throws: TensorError.self) {
                try backend.gatherRows(a.tensor, indices: GuardedTensor(indices: bad).tensor, into: a.tensor)
            }
            #expect(throws: TensorError.self) {
                try backend.scatterRows(a.tensor, indices: GuardedTensor(indices: bad).tensor, into: a.tensor)
            }
        }
        let x = GuardedTensor(Shape(2, 1, 4))
        let table = GuardedTensor(Shape(2, 3))
        #expect(throws: TensorError.self) {
            try backend.rotate(x.tensor, cosine: table.tensor, sine: table.tensor, style: .halves)
        }
    }
}
