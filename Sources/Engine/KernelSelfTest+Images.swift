import Layers
import Tensors

extension KernelSelfTest {
    /// What lies between a decoded picture and the rows that a vision encoder reads.
    static func imageCases(_ extent: Extent) -> [Case] {
        let full = extent == .full
        return (full ? [(14, 1), (14, 2), (16, 2), (5, 3)] : [(5, 2)]).map(patchRows)
            + (full ? [(1, 300, 3 * 91, 137, 12), (67, 91, 3, 224, 4), (33, 513, 3, 28, 74)] : [(3, 17, 3, 9, 6)]).map(resample)
    }

    /// Patches of two pictures of different widths, every seventh row without one.
    private static func patchRows(patchSize: Int, frames: Int) -> Case {
        Case(name: "patchRows \(patchSize)x\(patchSize), \(frames) frames", precision: .exact) { operands in
            let sizes = [(width: 5 * patchSize + 3, height: 2 * patchSize + 1), (width: patchSize, height: 7 * patchSize)]
            var corners: [Int32] = []
            var start = 0
            for (width, height) in sizes {
                for y in 0...height - patchSize {
                    for x in stride(from: 0, through: width - patchSize, by: 3) {
                        corners += corners.count % 14 == 0 ? [-1, 0] : [Int32(start + y * width + x), Int32(width)]
                    }
                }
                start += width * height
            }
            let count = corners.count / 2
            let out = try operands.output(Shape(count, 3 * frames * patchSize * patchSize))
            try operands.backend.patchRows(
                try operands.bytes(3 * start, seed: 31), samples: try operands.table(3, 256, dtype: .float32),
                corners: try operands.context.upload(corners).reshaped(Shape(count, 2)), patchSize: patchSize, frames: frames,
                into: out)
            return [out]
        }
    }

    /// Weights of both signs, so that results are clipped at both ends, and starts whose last taps lie behind the axis.
    private static func resample(outer: Int, length: Int, inner: Int, outputs: Int, taps: Int) -> Case {
        Case(name: "resample \(outer)x\(length)x\(inner) to \(outputs), \(taps) taps", precision: .exact) { operands in
            let starts = (0..<outputs).map { Int32($0 * length / outputs) }
            var weights: [Int32] = []
            for (output, start) in starts.enumerated() {
                for tap in 0..<taps {
                    let weight = ((output * 31 + tap * 7) % 23 - 8) * 2000 / taps
                    weights.append(Int(start) + tap < length ? Int32(weight) : 0)
                }
            }
            let out = try operands.output(Shape(outer, outputs, inner), dtype: .uint8)
            try operands.backend.resample(
                try operands.bytes(outer * length * inner, seed: 32).reshaped(Shape(outer, length, inner)),
                starts: try operands.context.upload(starts),
                weights: try operands.context.upload(weights).reshaped(Shape(outputs, taps)), precision: 12, into: out)
            return [out]
        }
    }
}
