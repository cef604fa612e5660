import Foundation
package import Tensors

/// Every operation of ``Backend`` as the plainest loops there are, in float64 between float32 inputs and outputs.
///
/// Slow and obvious: other backends are compared with it, operation by operation, and models can be checked on it when a fast
/// backend is in doubt. Weights are held in float32; the cache is in `cacheType`.
package final class ReferenceBackend: Backend {
    package let device = Device.cpu
    package let activationType = DType.float32
    package let cacheType: DType

    package init(cacheType: DType = .float32) { self.cacheType = cacheType }

    final class Memory: DeviceBuffer {
        let pointer: UnsafeMutableRawPointer
        let byteCount: Int

        init(byteCount: Int) {
            pointer = .allocate(byteCount: max(byteCount, 1), alignment: Workspace.alignment)
            pointer.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
            self.byteCount = byteCount
        }

        deinit { pointer.deallocate() }
    }

    // MARK: Memory

    package func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer { Memory(byteCount: byteCount) }

    package func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
        try check(tensor.isContiguous && bytes.count == tensor.byteCount, "upload", "\(bytes.count) bytes to \(tensor.shape)")
        if let start = bytes.baseAddress, !bytes.isEmpty { tensor.pointer.copyMemory(from: start, byteCount: bytes.count) }
    }

    package func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
        try check(bytes.count == tensor.byteCount, "download", "\(tensor.shape) to \(bytes.count) bytes")
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        let rowBytes = tensor.width * tensor.dtype.size
        for row in 0..<tensor.rows {
            (start + row * rowBytes).copyMemory(
                from: tensor.pointer + row * tensor.rowStride * tensor.dtype.size, byteCount: rowBytes)
        }
    }

    package func copy(_ source: Tensor, into out: Tensor) throws {
        try check(source.shape == out.shape && source.dtype == out.dtype, "copy", "\(source.shape) to \(out.shape)")
        for row in 0..<source.rows {
            (out.pointer + row * out.rowStride * out.dtype.size).copyMemory(
                from: source.pointer + row * source.rowStride * source.dtype.size, byteCount: source.width * source.dtype.size)
        }
    }

    package func synchronize() throws {}

    // MARK: Weights

    package func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight {
        let inFeatures = parts[0].dimensions.dropFirst().reduce(1, *)
        let outFeatures = parts.reduce(0) { $0 + $1.dimensions[0] }
        try check(
            parts.allSatisfy { $0.dimensions.dropFirst().reduce(1, *) == inFeatures }, "makeLinear",
            "parts differ in input features")
        try check(
            combine == .concatenated || (parts.count == 2 && parts[0].count == parts[1].count), "makeLinear",
            "gate and up must be two equal parts")
        let owner = Memory(byteCount: (outFeatures * inFeatures + outFeatures) * 4)
        let weights = Tensor(pointer: owner.pointer, dtype: .float32, shape: Shape(outFeatures, inFeatures))
        let biases = Tensor(pointer: owner.pointer + weights.byteCount, dtype: .float32, shape: Shape(outFeatures))
        var row = 0
        for (index, part) in parts.enumerated() {
            fill(weights.rows(row..<row + part.dimensions[0]), from: part)
            if let bias, let values = bias[index] {
                try check(values.count == part.dimensions[0], "makeLinear", "bias \(values.name) does not fit")
                fill(biases.rows(row..<row + part.dimensions[0]), from: values)
            }
            row += part.dimensions[0]
        }
        return LinearWeight(
            inFeatures: inFeatures, outFeatures: outFeatures, combine: combine, dtype: .float32, packed: weights,
            bias: bias == nil ? nil : biases, owner: owner)
    }

    package func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        let owner = Memory(byteCount: source.count * dtype.size)
        let d = source.dimensions
        let shape =
            switch d.count {
            case 1: Shape(d[0])
            case 2: Shape(d[0], d[1])
            default: Shape(d[0], d.dropFirst().reduce(1, *))
            }
        let tensor = Tensor(pointer: owner.pointer, dtype: dtype, shape: shape)
        fill(tensor, from: source)
        return (tensor, owner)
    }

    private func fill(_ tensor: Tensor, from source: HostTensor) {
        source.withBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            let input = Tensor(
                pointer: UnsafeMutableRawPointer(mutating: start), dtype: source.dtype, shape: Shape(source.count))
            for index in 0..<source.count { tensor.setFlat(index, input.flat(index)) }
        }
    }

    // MARK: Operations

    package func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {
        try check(
            x.width == weight.inFeatures && x.rows == out.rows, "linear",
            "input \(x.shape), weight [\(weight.outFeatures), \(weight.inFeatures)], output \(out.shape)")
        let outputs = weight.outFeatures
        var results = [Double](repeating: 0, count: outputs)
        let weights = weight.packed.pointer.assumingMemoryBound(to: Float.self)
        for row in 0..<x.rows {
            let input = x.rowValues(row)
            for output in 0..<outputs {
                var sum = 0.0
                let w = weights + output * weight.inFeatures
                for index in 0..<weight.inFeatures { sum += input[index] * Double(w[index]) }
                results[output] = sum + (weight.bias.map { $0.flat(output) } ?? 0)
            }
            try finish(results, epilogue, weight, out, row)
        }
    }

    private func finish(
        _ results: [Double], _ epilogue: LinearEpilogue, _ weight: LinearWeight, _ out: Tensor, _ row: Int
    ) throws {
        let count = results.count
        if case .gated(let activation) = epilogue {
            try check(weight.combine == .gateUp && out.width == count / 2, "linear", "gated needs a gateUp weight")
            for index in 0..<count / 2 {
                out.set(row, index, apply(activation, results[index]) * results[count / 2 + index])
            }
            return
        }
        try check(out.width == count, "linear", "output \(out.shape) for \(count) features")
        for index in 0..<count {
            let value = results[index]
            switch epilogue {
            case .store, .gated: out.set(row, index, value)
            case .accumulate: out.set(row, index, out.get(row, index) + value)
            case .scaledAccumulate(let scale): out.set(row, index, out.get(row, index) + scale.flat(index) * value)
            case .activation(let activation): out.set(row, index, apply(activation, value))
            }
        }
    }

    private func apply(_ activation: Activation, _ x: Double) -> Double {
        switch activation {
        case .gelu: x / 2 * (1 + erf(x / 2.0.squareRoot()))
        case .geluTanh: x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        case .quickGELU: x / (1 + exp(-1.702 * x))
        case .silu: x / (1 + exp(-x))
        case .relu: max(x, 0)
        case .tanh: tanh(x)
        }
    }

    package func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws {
        try normalise(x, weight: weight, into: out, "rmsNorm") { values in
            let mean = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
            let factor = 1 / (mean + Double(epsilon)).squareRoot()
            return values.enumerated().map { $1 * factor * weight.flat($0) }
        }
    }

    package func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {
        try normalise(x, weight: weight, into: out, "layerNorm") { values in
            let mean = values.reduce(0, +) / Double(values.count)
            let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
            let factor = 1 / (variance + Double(epsilon)).squareRoot()
            return values.indices.map { index -> Double in
                let shift = bias?.flat(index) ?? 0
                return (values[index] - mean) * factor * weight.flat(index) + shift
            }
        }
    }

    /// Applies `body` to each run of `weight.count` values of each row.
    private func normalise(
        _ x: Tensor, weight: Tensor, into out: Tensor, _ operation: String, body: ([Double]) -> [Double]
    ) throws {
        let size = weight.count
        try check(
            x.shape == out.shape && x.shape[x.shape.rank - 1] == size, operation, "\(x.shape) by \(size) to \(out.shape)")
        for row in 0..<x.rows {
            let values = x.rowValues(row)
            for start in stride(from: 0, to: values.count, by: size) {
                for (index, value) in body(Array(values[start..<start + size])).enumerated() {
                    out.set(row, start + index, value)
                }
            }
        }
    }

    package func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws {
        let half = cosine.width
        try check(
            x.shape.rank == 3 && 2 * half <= x.shape[2] && cosine.rows == x.rows && sine.shape == cosine.shape, "rotate",
            "\(x.shape) by \(cosine.shape)")
        for row in 0..<x.rows {
            for head in 0..<x.shape[1] {
                let start = head * x.shape[2]
                for index in 0..<half {
                    let (first, second) =
                        style == .halves ? (start + index, start + index + half) : (start + 2 * index, start + 2 * index + 1)
                    let (a, b) = (x.get(row, first), x.get(row, second))
                    let (c, s) = (cosine.get(row, index), sine.get(row, index))
                    x.set(row, first, a * c - b * s)
                    x.set(row, second, b * c + a * s)
                }
            }
        }
    }

    package func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) throws {
        try check(
            cosine.shape == Shape(positions.width, frequencies.count) && sine.shape == cosine.shape, "rotaryTables",
            "positions \(positions.shape) for \(cosine.shape)")
        for row in 0..<cosine.rows {
            for column in 0..<cosine.width {
                // The product is rounded to float32, as the reference implementation's is.
                let position = Float(positions.get(Int(axes.flat(column)), row))
                let angle = Double(Float(frequencies.flat(column)) * position)
                cosine.set(row, column, cos(angle) * Double(factor))
                sine.set(row, column, sin(angle) * Double(factor))
            }
        }
    }

    package func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {
        try check(
            k.shape == v.shape && k.shape.rank == 3 && k.shape[1] == cache.kvHeads && k.shape[2] == cache.headSize
                && slots.count == k.rows, "writeCache", "\(k.shape), \(slots.count) slots into \(cache.keys.shape)")
        for row in 0..<k.rows {
            let slot = Int(slots.flat(row))
            if slot < 0 { continue }
            for head in 0..<cache.kvHeads {
                for index in 0..<cache.headSize {
                    let position = cacheIndex(cache, slot: slot, head: head) + index
                    cache.keys.setFlat(position, k.get(row, head * cache.headSize + index))
                    cache.values.setFlat(position, v.get(row, head * cache.headSize + index))
                }
            }
        }
    }

    private func cacheIndex(_ cache: KVCacheLayer, slot: Int, head: Int) -> Int {
        let (block, offset) = slot.quotientAndRemainder(dividingBy: cache.blockSize)
        return ((block * cache.kvHeads + head) * cache.blockSize + offset) * cache.headSize
    }

    package func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws {
        try check(
            q.shape.rank == 3 && q.shape == out.shape && q.shape[2] == cache.headSize && q.shape[1] % cache.kvHeads == 0,
            "pagedAttention", "\(q.shape) over \(cache.keys.shape) to \(out.shape)")
        let group = q.shape[1] / cache.kvHeads
        let size = cache.headSize
        for sequence in 0..<batch.hostContextLengths.count {
            let (start, end) = (Int(batch.hostQueryStarts[sequence]), Int(batch.hostQueryStarts[sequence + 1]))
            let context = Int(batch.hostContextLengths[sequence])
            for row in start..<end {
                let own = context - (end - start) + row - start
                let first = options.window.map { max(0, own - $0 + 1) } ?? 0
                let last = batch.ends == nil ? own : Int(batch.hostEnds[row]) - 1
                let places = (first...last).map { position in
                    Int(batch.blockTables.get(sequence, position / cache.blockSize)) * cache.blockSize + position
                        % cache.blockSize
                }
                for head in 0..<q.shape[1] {
                    let bases = places.map { cacheIndex(cache, slot: $0, head: head / group) }
                    attend(q, row, head, size, options, count: places.count, out) { place, index in
                        (cache.keys.flat(bases[place] + index), cache.values.flat(bases[place] + index))
                    }
                }
            }
        }
    }

    package func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws {
        try check(
            q.shape.rank == 3 && q.shape == out.shape && k.shape == v.shape && q.shape[1] % k.shape[1] == 0
                && q.shape[2] == k.shape[2] && Int(hostSegments.last ?? -1) == q.rows, "segmentedAttention",
            "\(q.shape), \(k.shape) to \(out.shape)")
        let group = q.shape[1] / k.shape[1]
        let size = q.shape[2]
        for segment in 0..<hostSegments.count - 1 {
            let (start, end) = (Int(hostSegments[segment]), Int(hostSegments[segment + 1]))
            for row in start..<end {
                for head in 0..<q.shape[1] {
                    attend(q, row, head, size, options, count: end - start, out) { place, index in
                        let column = head / group * size + index
                        return (k.get(start + place, column), v.get(start + place, column))
                    }
                }
            }
        }
    }

    /// Softmax attention of one query head over `count` places whose key and value elements `element` gives.
    private func attend(
        _ q: Tensor, _ row: Int, _ head: Int, _ size: Int, _ options: AttentionOptions, count: Int, _ out: Tensor,
        element: (_ place: Int, _ index: Int) -> (key: Double, value: Double)
    ) {
        let query = (0..<size).map { q.get(row, head * size + $0) }
        var scores = (0..<count).map { place in
            var score = 0.0
            for index in 0..<size { score += query[index] * element(place, index).key }
            score *= Double(options.scale)
            if let cap = options.softcap { score = Double(cap) * tanh(score / Double(cap)) }
            return score
        }
        let largest = scores.max() ?? 0
        for place in 0..<count { scores[place] = exp(scores[place] - largest) }
        let total = scores.reduce(0, +)
        var sums = [Double](repeating: 0, count: size)
        for place in 0..<count {
            for index in 0..<size { sums[index] += scores[place] * element(place, index).value }
        }
        for index in 0..<size { out.set(row, head * size + index, sums[index] / total) }
    }

    package func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws {
        try check(table.width == out.width && indices.count == out.rows, "gatherRows", "\(table.shape) to \(out.shape)")
        for row in 0..<out.rows {
            var index = Int(indices.flat(row))
            if index < 0, let lanes { index = Int(lanes.flat(-1 - index)) }
            try check(index >= 0 && index < table.rows, "gatherRows", "row index \(index) of \(table.rows) rows")
            for column in 0..<out.width { out.set(row, column, table.get(index, column)) }
        }
    }

    package func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws {
        try check(source.width == out.width && indices.count == source.rows, "scatterRows", "\(source.shape) to \(out.shape)")
        for row in 0..<source.rows {
            let index = try rowIndex(indices, row, out.rows, "scatterRows")
            for column in 0..<out.width { out.set(index, column, source.get(row, column)) }
        }
    }

    package func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws {
        let (outer, length, inner) = (source.shape[0], source.shape[1], source.shape[2])
        let outputs = out.shape[1]
        try check(
            out.shape == Shape(outer, outputs, inner) && starts.count == outputs && weights.rows == outputs, "resample",
            "\(source.shape) by \(weights.shape) to \(out.shape)")
        let (from, to) = (source.pointer.assumingMemoryBound(to: UInt8.self), out.pointer.assumingMemoryBound(to: UInt8.self))
        for a in 0..<outer {
            for i in 0..<outputs {
                for b in 0..<inner {
                    var sum = 1 << (precision - 1)
                    for k in 0..<weights.width where Int(starts.flat(i)) + k < length {
                        sum += Int(weights.get(i, k)) * Int(from[(a * length + Int(starts.flat(i)) + k) * inner + b])
                    }
                    to[(a * outputs + i) * inner + b] = UInt8(clamping: sum >> precision)
                }
            }
        }
    }

    package func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) throws {
        let plane = patchSize * patchSize
        try check(
            out.width == 3 * frames * plane && corners.shape == Shape(out.rows, 2) && samples.count == 768
                && pixels.dtype == .uint8, "patchRows", "\(pixels.shape), \(corners.shape) to \(out.shape)")
        let bytes = pixels.pointer.assumingMemoryBound(to: UInt8.self)
        for row in 0..<out.rows {
            let (corner, line) = (Int(corners.get(row, 0)), Int(corners.get(row, 1)))
            for column in 0..<out.width {
                let (channel, y, x) = (column / plane / frames, column % plane / patchSize, column % patchSize)
                let place = (corner + y * line + x) * 3 + channel
                try check(corner < 0 || place < pixels.count, "patchRows", "row \(row) is outside the pixels")
                out.set(row, column, corner < 0 ? 0 : samples.get(channel, Int(bytes[place])))
            }
        }
    }

    package func add(_ x: Tensor, into out: Tensor) throws {
        try check(x.shape == out.shape, "add", "\(x.shape) to \(out.shape)")
        for row in 0..<x.rows {
            for column in 0..<x.width { out.set(row, column, out.get(row, column) + x.get(row, column)) }
        }
    }

    package func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {
        try check(table.width == out.width && indices.count == out.rows, "addRows", "\(table.shape) to \(out.shape)")
        for row in 0..<out.rows {
            let index = try rowIndex(indices, row, table.rows, "addRows")
            for column in 0..<out.width { out.set(row, column, out.get(row, column) + table.get(index, column)) }
        }
    }

    package func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws {
        try check(
            table.width == out.width && indices.shape == weights.shape && indices.rows == out.rows, "addRows",
            "\(table.shape) by \(weights.shape) to \(out.shape)")
        let taps = indices.width
        for row in 0..<out.rows {
            let places = try (0..<taps).map { try rowIndex(indices, row * taps + $0, table.rows, "addRows") }
            for column in 0..<out.width {
                let sum = places.indices.reduce(0.0) { $0 + weights.get(row, $1) * table.get(places[$1], column) }
                out.set(row, column, out.get(row, column) + sum)
            }
        }
    }

    package func activate(_ x: Tensor, _ activation: Activation) throws {
        for row in 0..<x.rows {
            for column in 0..<x.width { x.set(row, column, apply(activation, x.get(row, column))) }
        }
    }

    package func scale(_ x: Tensor, by factor: Float) throws {
        for row in 0..<x.rows {
            for column in 0..<x.width { x.set(row, column, Double(factor) * x.get(row, column)) }
        }
    }

    private func rowIndex(_ indices: Tensor, _ row: Int, _ limit: Int, _ operation: String) throws -> Int {
        let index = Int(indices.flat(row))
        try check(index >= 0 && index < limit, operation, "row index \(index) of \(limit) rows")
        return index
    }

    private func check(_ condition: Bool, _ operation: String, _ detail: @autoclosure () -> String) throws {
        if !condition { throw TensorError(.shapeMismatch, operation: operation, detail: detail()) }
    }
}
