import Layers
import Tensors

extension KernelSelfTest {
    private static let activations: [Activation] = [.gelu, .geluTanh, .quickGELU, .silu, .relu, .tanh]

    /// Matrix products: all epilogues, rows on both sides of every kernel's limits, aligned and odd feature counts.
    static func linearCases(_ extent: Extent) -> [Case] {
        let allRows = extent == .full ? [1, 2, 7, 16, 17, 64, 67, 130, 331] : [1, 7, 67]
        let someRows = extent == .full ? [1, 7, 16, 67, 331] : [1, 67]
        let features = [(384, 256), (129, 333)]
        var cases: [Case] = []
        for rows in allRows {
            for (out, input) in features {
                cases.append(linear("store", rows, out, input, .store))
                cases.append(rmsNormed("store", rows, out, input, .store))
            }
        }
        for rows in someRows {
            for (out, input) in features {
                cases.append(linear("accumulate", rows, out, input, .accumulate))
                cases.append(scaled(rows, out, input))
                cases.append(folded(rows, out, input))
                cases.append(logits(rows, out, input))
                for activation in activations {
                    cases.append(linear("\(activation.rawValue)", rows, out, input, .activation(activation)))
                }
            }
            for (out, input) in [(512, 256), (2 * 68, 333)] {
                for activation in [Activation.silu, .gelu, .geluTanh] {
                    let name = "gated \(activation.rawValue)"
                    cases.append(linear(name, rows, out, input, .gated(activation), combine: .gateUp))
                    cases.append(rmsNormed(name, rows, out, input, .gated(activation), combine: .gateUp))
                }
            }
            cases.append(strided(rows))
            cases.append(linear("no bias", rows, 200, 128, .store, bias: false))
        }
        if extent == .full {
            // Real widths: many slices of the input features, several waves of blocks.
            for rows in [1, 4, 16, 64, 331] {
                cases.append(linear("deep", rows, 256, 18944, .accumulate, bias: false))
                cases.append(linear("wide", rows, 4608, 1536, .store))
                cases.append(rmsNormed("wide", rows, 4608, 1536, .store))
                cases.append(rmsNormed("wide gated", rows, 4480, 1536, .gated(.silu), combine: .gateUp))
            }
            cases.append(linear("vision", 1025, 3072, 1024, .activation(.gelu)))
            cases += largeCases
        }
        return cases
    }

    /// Every epilogue in sizes that a GPU leaves to its library: patches of 588 values, which do not fill rows of 16 bytes, and gates of
    /// more rows than are finished at once.
    private static var largeCases: [Case] {
        var cases: [Case] = []
        for rows in [130, 331, 1025] {
            for (out, input) in [(1024, 588), (1536, 1536)] {
                cases.append(linear("store", rows, out, input, .store))
                cases.append(linear("no bias", rows, out, input, .store, bias: false))
                cases.append(linear("accumulate", rows, out, input, .accumulate))
                cases.append(linear("accumulate, no bias", rows, out, input, .accumulate, bias: false))
                cases.append(scaled(rows, out, input))
                cases.append(folded(rows, out, input))
                cases.append(logits(rows, out, input))
                for activation in activations {
                    cases.append(linear("\(activation.rawValue)", rows, out, input, .activation(activation)))
                }
            }
            for activation in activations {
                cases.append(linear("gated \(activation.rawValue)", rows, 3072, 1024, .gated(activation), combine: .gateUp))
            }
            cases.append(linear("gated, no bias", rows, 3072, 1024, .gated(.silu), combine: .gateUp, bias: false))
            cases.append(strided(rows, 768, 1024))
            cases.append(stridedGated(rows))
        }
        for rows in [17, 64, 331] { cases.append(oddLogits(rows, 4106, 512)) }
        cases.append(linear("odd accumulate", 130, 4106, 512, .accumulate))
        cases.append(linear("rounds", 2176, 4352, 2048, .accumulate))
        cases.append(linear("many gated", 331, 2 * 56_000, 64, .gated(.silu), combine: .gateUp))
        return cases
    }

    private static func name(_ what: String, _ rows: Int, _ out: Int, _ input: Int) -> String {
        "linear \(what) \(rows)x\(input)x\(out)"
    }

    private static func linear(
        _ what: String, _ rows: Int, _ out: Int, _ input: Int, _ epilogue: LinearEpilogue,
        combine: LinearWeight.Combine = .concatenated, bias: Bool = true
    ) -> Case {
        Case(name: name(what, rows, out, input)) { operands in
            let width = combine == .gateUp ? out / 2 : out
            let result =
                if case .accumulate = epilogue { try operands.activations(Shape(rows, width), seed: 3) } else {
                    try operands.output(Shape(rows, width))
                }
            try operands.backend.linear(
                try operands.activations(Shape(rows, input), seed: 1),
                try operands.linear(out, input, seed: 2, combine: combine, bias: bias), epilogue: epilogue, into: result)
            return [result]
        }
    }

    private static func rmsNormed(
        _ what: String, _ rows: Int, _ out: Int, _ input: Int, _ epilogue: LinearEpilogue,
        combine: LinearWeight.Combine = .concatenated
    ) -> Case {
        Case(name: name("rmsNormed \(what)", rows, out, input)) { operands in
            let result = try operands.output(Shape(rows, combine == .gateUp ? out / 2 : out))
            let x = try operands.activations(Shape(rows, input), seed: 1)
            let norm = try operands.parameters(Shape(input), seed: 4)
            let weight = try operands.linear(out, input, seed: 2, combine: combine)
            let fused = try operands.backend.linear(
                rmsNormed: x, normWeight: norm, epsilon: 1e-6, weight, epilogue: epilogue, into: result)
            if !fused {
                let normed = try operands.context.activations(x.shape)
                try operands.backend.rmsNorm(x, weight: norm, epsilon: 1e-6, into: normed)
                try operands.backend.linear(normed, weight, epilogue: epilogue, into: result)
            }
            return [result]
        }
    }

    private static func scaled(_ rows: Int, _ out: Int, _ input: Int) -> Case {
        Case(name: name("scaledAccumulate", rows, out, input)) { operands in
            let result = try operands.activations(Shape(rows, out), seed: 3)
            try operands.backend.linear(
                try operands.activations(Shape(rows, input), seed: 1), try operands.linear(out, input, seed: 2),
                epilogue: .scaledAccumulate(scale: try operands.parameters(Shape(out), seed: 5)), into: result)
            return [result]
        }
    }

    /// Outputs scaled for good where the backend does that, against scaling in each product.
    private static func folded(_ rows: Int, _ out: Int, _ input: Int) -> Case {
        Case(name: name("scaleOutputs", rows, out, input)) { operands in
            let (backend, result) = (operands.backend, try operands.activations(Shape(rows, out), seed: 3))
            let x = try operands.activations(Shape(rows, input), seed: 1)
            let weight = try operands.linear(out, input, seed: 2)
            let isFolded = try backend.scaleOutputs(of: weight, by: operands.hostParameters(out, seed: 5))
            _ = try backend.finishLoading()
            let epilogue =
                try isFolded
                ? .accumulate
                : LinearEpilogue.scaledAccumulate(
                    scale: operands.parameters(Shape(out), seed: 5))
            try backend.linear(x, weight, epilogue: epilogue, into: result)
            return [result]
        }
    }

    /// Into float32, as logits are, whatever the type of activations. Inputs are rounded alike, so only sums differ.
    private static func logits(_ rows: Int, _ out: Int, _ input: Int) -> Case {
        Case(name: name("float32 logits", rows, out, input)) { operands in
            let result = try operands.output(Shape(rows, out), dtype: .float32)
            try operands.backend.linear(
                try operands.activations(Shape(rows, input), seed: 1), try operands.linear(out, input, seed: 2, bias: false),
                epilogue: .store, into: result)
            return [result]
        }
    }

    /// Rows of an odd width in aligned places, as ``DecoderModel/logits(_:context:)`` asks for; what fills them up stays.
    private static func oddLogits(_ rows: Int, _ out: Int, _ input: Int) -> Case {
        Case(name: name("logits in aligned rows", rows, out, input)) { operands in
            let result = try operands.parameters(Shape(rows, (out + 15) / 16 * 16), seed: 3)
            try operands.backend.linear(
                try operands.activations(Shape(rows, input), seed: 1), try operands.linear(out, input, seed: 2, bias: false),
                epilogue: .store, into: result.columns(0..<out))
            return [result]
        }
    }

    /// Columns of wider tensors on both sides; what lies beside them stays.
    private static func strided(_ rows: Int, _ out: Int = 96, _ input: Int = 128) -> Case {
        Case(name: name("strided", rows, out, input)) { operands in
            let x = try operands.activations(Shape(rows, input + 272), seed: 1)
            let result = try operands.activations(Shape(rows, out + 160), seed: 3)
            try operands.backend.linear(
                x.columns(160..<160 + input), try operands.linear(out, input, seed: 2), epilogue: .store,
                into: result.columns(64..<64 + out))
            try operands.backend.linear(
                x.columns(160..<160 + input), try operands.linear(out, input, seed: 2), epilogue: .activation(.silu),
                into: result.columns(96..<96 + out))
            return [result]
        }
    }

    private static func stridedGated(_ rows: Int) -> Case {
        Case(name: name("strided gated", rows, 2048, 512)) { operands in
            let x = try operands.activations(Shape(rows, 784), seed: 1)
            let result = try operands.activations(Shape(rows, 1184), seed: 3)
            try operands.backend.linear(
                x.columns(160..<672), try operands.linear(2048, 512, seed: 2, combine: .gateUp), epilogue: .gated(.silu),
                into: result.columns(64..<1088))
            return [result]
        }
    }
}
