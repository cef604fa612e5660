import Layers
import Tensors

extension KernelSelfTest {
    /// Norms, rotary embedding and everything that works on rows or elements.
    static func rowCases(_ extent: Extent) -> [Case] {
        let full = extent == .full
        var cases: [Case] = []
        for (rows, width) in full ? [(1, 3584), (7, 133), (64, 1536), (331, 1152), (1025, 1024)] : [(1, 1536), (7, 133)] {
            cases += norms(rows, width)
        }
        for (rows, headSize) in full ? [(1, 128), (33, 64), (130, 80), (7, 72), (331, 128)] : [(7, 64)] {
            cases.append(headNorm(rows, headSize))
            for style in [RotaryStyle.halves, .interleaved] {
                cases.append(rotate(rows, headSize, turning: headSize / 2, style))
                cases.append(rotate(rows, headSize, turning: headSize / 4, style))
                cases.append(rotateAndCache(rows, headSize, style, norms: false))
                cases.append(rotateAndCache(rows, headSize, style, norms: true))
            }
        }
        for rows in full ? [1, 9, 331] : [9] { cases.append(rotaryTables(rows)) }
        for rows in full ? [1, 16, 67, 331] : [7] { cases += moves(rows) + elementwise(rows) }
        return cases
    }

    private static func norms(_ rows: Int, _ width: Int) -> [Case] {
        let shape = Shape(rows, width)
        let size = "\(rows)x\(width)"
        return [
            Case(name: "rmsNorm \(size)") { operands in
                let out = try operands.output(shape)
                try operands.backend.rmsNorm(
                    try operands.activations(shape, seed: 6), weight: try operands.parameters(Shape(width), seed: 7),
                    epsilon: 1e-6,
                    into: out)
                return [out]
            },
            Case(name: "rmsNorm in place, strided \(size)") { operands in
                let x = try operands.activations(Shape(rows, width + 24), seed: 6)
                let view = x.columns(8..<width + 8)
                try operands.backend.rmsNorm(
                    view, weight: try operands.parameters(Shape(width), seed: 7), epsilon: 1e-5, into: view)
                return [x]
            },
            Case(name: "layerNorm \(size)") { operands in
                let out = try operands.output(shape)
                try operands.backend.layerNorm(
                    try operands.activations(shape, seed: 8), weight: try operands.parameters(Shape(width), seed: 9),
                    bias: try operands.parameters(Shape(width), seed: 10), epsilon: 1e-6, into: out)
                return [out]
            },
            Case(name: "layerNorm in place, no bias \(size)") { operands in
                let x = try operands.activations(shape, seed: 8)
                try operands.backend.layerNorm(
                    x, weight: try operands.parameters(Shape(width), seed: 9), bias: nil, epsilon: 1e-6, into: x)
                return [x]
            },
        ]
    }

    private static func headNorm(_ rows: Int, _ headSize: Int) -> Case {
        Case(name: "rmsNorm of heads \(rows)x3x\(headSize)") { operands in
            let x = try operands.activations(Shape(rows, 5 * headSize), seed: 11)
            let heads = x.columns(headSize..<4 * headSize).reshaped(Shape(rows, 3, headSize))
            try operands.backend.rmsNorm(
                heads, weight: try operands.parameters(Shape(headSize), seed: 12), epsilon: 1e-6, into: heads)
            return [x]
        }
    }

    private static func rotate(_ rows: Int, _ headSize: Int, turning: Int, _ style: RotaryStyle) -> Case {
        Case(name: "rotate \(style) \(rows)x3x\(headSize), \(turning) pairs") { operands in
            let x = try operands.activations(Shape(rows, 4 * headSize), seed: 13)
            try operands.backend.rotate(
                x.columns(headSize..<4 * headSize).reshaped(Shape(rows, 3, headSize)),
                cosine: try operands.parameters(Shape(rows, turning), seed: 14),
                sine: try operands.parameters(Shape(rows, turning), seed: 15), style: style)
            return [x]
        }
    }

    private static func rotaryTables(_ rows: Int) -> Case {
        Case(name: "rotaryTables \(rows)x64", precision: .float32) { operands in
            let positions = (0..<3 * rows).map { Int32($0 * 7919 % 32768) }
            let frequencies = (0..<64).map { 1 / Float(10).squareRoot() / Float(1 << ($0 / 4)) }
            let (cosine, sine) = (
                try operands.output(Shape(rows, 64), dtype: .float32), try operands.output(Shape(rows, 64), dtype: .float32)
            )
            try operands.backend.rotaryTables(
                positions: try operands.context.upload(positions).reshaped(Shape(3, rows)),
                frequencies: try operands.context.upload(frequencies, shape: Shape(64)),
                axes: try operands.context.upload((0..<64).map { Int32($0 % 3) }), factor: 1.25, cosine: cosine, sine: sine)
            return [cosine, sine]
        }
    }

    /// Rows go to scattered slots, every fifth to none.
    private static func slots(_ rows: Int, blocks: Int, blockSize: Int) -> [Int32] {
        (0..<rows).map { $0 % 5 == 4 ? -1 : Int32(($0 * 7 + 3) % (blocks * blockSize)) }
    }

    private static func rotateAndCache(_ rows: Int, _ headSize: Int, _ style: RotaryStyle, norms: Bool) -> Case {
        Case(name: "rotateAndCache \(style)\(norms ? " with norms" : "") \(rows)x(6+2+2)x\(headSize)") { operands in
            let context = operands.context
            let blockSize = 16
            // 7 and the number of slots share no factor, so no slot is written twice.
            let blocks = (rows + blockSize - 1) / blockSize + 1
            let cache = try KVCache(
                layout: KVCacheLayout(layers: 1, kvHeads: 2, headSize: headSize),
                blockCount: blocks % 7 == 0 ? blocks + 1 : blocks,
                blockSize: blockSize, backend: operands.backend)
            operands.keep(cache)
            let projected = try operands.activations(Shape(rows, 10 * headSize), seed: 16)
            let weights = try operands.parameters(Shape(2, headSize), seed: 17)
            let projection = AttentionProjection(
                projected, heads: 6, kvHeads: 2, headSize: headSize,
                norms: norms
                    ? .init(
                        query: weights.rows(0..<1).reshaped(Shape(headSize)), key: weights.rows(1..<2).reshaped(Shape(headSize)),
                        epsilon: 1e-6) : nil,
                cosine: try operands.parameters(Shape(rows, headSize / 2), seed: 18),
                sine: try operands.parameters(Shape(rows, headSize / 2), seed: 19), style: style)
            try operands.backend.rotateAndCache(
                projection, slots: try context.upload(slots(rows, blocks: cache.blockCount, blockSize: blockSize)),
                cache: cache.layers[0])
            return [try operands.contiguous(projection.query), cache.layers[0].keys, cache.layers[0].values]
        }
    }

    /// Operations that move numbers.
    private static func moves(_ rows: Int) -> [Case] {
        let width = 136
        let indices = (0..<rows).map { Int32(($0 * 11 + 5) % 401) }
        var cases = [DType.float32, .float16, .bfloat16].map { dtype in
            Case(name: "gatherRows \(rows)x\(width) of \(dtype)", precision: .exact) { operands in
                let out = try operands.output(Shape(rows, width))
                try operands.backend.gatherRows(
                    try operands.table(401, width, dtype: dtype), indices: try operands.context.upload(indices), into: out)
                return [out]
            }
        }
        cases.append(
            Case(name: "gatherRows \(rows)x\(width) by lanes", precision: .exact) { operands in
                let out = try operands.output(Shape(rows, width))
                let table = try operands.table(401, width, dtype: operands.backend.activationType)
                guard operands.backend is any AsynchronousBackend else {
                    try operands.backend.gatherRows(table, indices: try operands.context.upload(indices), into: out)
                    return [out]
                }
                // Every second row is named by a lane.
                let named = indices.enumerated().map { $0 % 2 == 0 ? $1 : -1 - Int32(rows - 1 - $0) }
                try operands.backend.gatherRows(
                    table, indices: try operands.context.upload(named), lanes: try operands.context.upload(indices.reversed()),
                    into: out)
                return [out]
            })
        cases.append(
            Case(name: "scatterRows \(rows)x\(width)", precision: .exact) { operands in
                let out = try operands.activations(Shape(2 * rows + 1, width), seed: 20)
                try operands.backend.scatterRows(
                    try operands.activations(Shape(rows, width + 8), seed: 21).columns(8..<width + 8),
                    indices: try operands.context.upload((0..<rows).map { Int32(2 * (rows - $0) - 1) }), into: out)
                return [out]
            })
        cases.append(
            Case(name: "copy strided \(rows)x\(width - 3)", precision: .exact) { operands in
                let out = try operands.activations(Shape(rows, 2 * width), seed: 22)
                try operands.backend.copy(
                    try operands.activations(Shape(rows, width), seed: 23).columns(2..<width - 1),
                    into: out.columns(5..<width + 2))
                return [out]
            })
        cases.append(
            Case(name: "copy to float32 \(rows)x\(width)", precision: .exact) { operands in
                let out = try operands.output(Shape(rows, width), dtype: .float32)
                try operands.backend.copy(try operands.activations(Shape(rows, width), seed: 24), into: out)
                return [out]
            })
        cases.append(
            Case(name: "writeCache \(rows)x2x80", precision: .exact) { operands in
                let cache = try KVCache(
                    layout: KVCacheLayout(layers: 1, kvHeads: 2, headSize: 80), blockCount: rows / 16 + 2, blockSize: 16,
                    backend: operands.backend)
                operands.keep(cache)
                let both = try operands.activations(Shape(rows, 4 * 80), seed: 25)
                // Ascending, every fifth skipped.
                let slots = (0..<rows).map { $0 % 5 == 4 ? -1 : Int32($0 + 7) }
                try operands.backend.writeCache(
                    keys: both.columns(0..<160).reshaped(Shape(rows, 2, 80)),
                    values: both.columns(160..<320).reshaped(Shape(rows, 2, 80)), slots: try operands.context.upload(slots),
                    cache: cache.layers[0])
                return [cache.layers[0].keys, cache.layers[0].values]
            })
        return cases
    }

    private static func elementwise(_ rows: Int) -> [Case] {
        let width = 133
        let shape = Shape(rows, width)
        var cases = [Activation.gelu, .geluTanh, .quickGELU, .silu, .relu, .tanh].map { activation in
            Case(name: "activate \(activation.rawValue) \(rows)x\(width)") { operands in
                let x = try operands.activations(shape, seed: 26, scale: 3)
                try operands.backend.activate(x, activation)
                return [x]
            }
        }
        cases.append(
            Case(name: "add \(rows)x\(width)") { operands in
                let out = try operands.activations(shape, seed: 27)
                try operands.backend.add(
                    try operands.activations(Shape(rows, width + 5), seed: 28).columns(3..<width + 3), into: out)
                return [out]
            })
        cases.append(
            Case(name: "addRows \(rows)x\(width)") { operands in
                let out = try operands.activations(shape, seed: 29)
                try operands.backend.addRows(
                    try operands.table(57, width, dtype: operands.backend.activationType),
                    indices: try operands.context.upload((0..<rows).map { Int32($0 * 5 % 57) }), into: out)
                return [out]
            })
        for wide in [width, 136] {
            cases.append(
                Case(name: "addRows weighted \(rows)x4x\(wide)") { operands in
                    let out = try operands.activations(Shape(rows, wide), seed: 29)
                    try operands.backend.addRows(
                        try operands.table(57, wide, dtype: operands.backend.activationType),
                        indices: try operands.context.upload((0..<4 * rows).map { Int32($0 * 5 % 57) }).reshaped(Shape(rows, 4)),
                        weights: try operands.parameters(Shape(rows, 4), seed: 31), into: out)
                    return [out]
                })
        }
        cases.append(
            Case(name: "scale \(rows)x\(width)") { operands in
                let x = try operands.activations(shape, seed: 30)
                try operands.backend.scale(x, by: 0.3)
                return [x]
            })
        return cases
    }
}
