package import Tensors

extension CPUBackend {
    /// Host pictures are resized before they come here, by kernels that are faster; this is for comparison with other devices.
    package func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws {
        let operation = "resample"
        let (outer, length, inner) = (source.shape[0], source.shape[1], source.shape[2])
        let (outputs, taps) = (out.shape[1], weights.width)
        try require(
            source.dtype == .uint8 && out.dtype == .uint8 && source.isContiguous && out.isContiguous && source.shape.rank == 3
                && out.shape == Shape(outer, outputs, inner) && length > 0 && (1..<31).contains(precision), operation,
            "source \(source.shape) and out \(out.shape) must be contiguous uint8 [A, N, B] and [A, M, B], precision \(precision) from 1 to 30"
        )
        try requireInt32(starts, count: outputs, operation)
        try requireInt32(weights, count: outputs * taps, operation)
        let (from, to) = (source.pointer.assumingMemoryBound(to: UInt8.self), out.pointer.assumingMemoryBound(to: UInt8.self))
        let (places, factors) = (starts.int32s, weights.int32s)
        for i in 0..<outputs {
            try require(places[i] >= 0 && Int(places[i]) < length, operation, "start \(places[i]) at \(i) is outside \(length)")
        }
        forRows(outer * outputs, width: inner * taps) { rows in
            for row in rows {
                let (a, i) = row.quotientAndRemainder(dividingBy: outputs)
                let (start, used) = (Int(places[i]), min(taps, length - Int(places[i])))
                let first = from + (a * length + start) * inner
                for b in 0..<inner {
                    var sum = Int32(1) << Int32(precision - 1)
                    for k in 0..<used { sum &+= factors[i * taps + k] &* Int32(first[k * inner + b]) }
                    to[row * inner + b] = UInt8(clamping: sum >> Int32(precision))
                }
            }
        }
    }

    package func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) throws {
        let operation = "patchRows"
        try requireFloat32(samples, out, in: operation)
        let plane = patchSize * patchSize
        try require(
            pixels.dtype == .uint8 && pixels.isContiguous && samples.shape == Shape(3, 256) && samples.isContiguous
                && patchSize > 0 && frames > 0 && out.width == 3 * frames * plane, operation,
            "pixels \(pixels.shape) of \(pixels.dtype) must be contiguous uint8, samples \(samples.shape) [3, 256], out \(out.shape) [T, 3 · \(frames) · \(patchSize) · \(patchSize)]"
        )
        try requireInt32(corners, count: 2 * out.rows, operation)
        let (bytes, table, places) = (pixels.pointer.assumingMemoryBound(to: UInt8.self), samples.floats, corners.int32s)
        for row in 0..<out.rows where places[2 * row] >= 0 {
            let (corner, line) = (Int(places[2 * row]), Int(places[2 * row + 1]))
            try require(
                line >= patchSize && corner + (patchSize - 1) * line + patchSize <= pixels.count / 3, operation,
                "the patch of row \(row), at pixel \(corner) with \(line) in a line, is outside the \(pixels.count / 3) pixels")
        }
        forRows(out.rows, width: out.width) { rows in
            for row in rows {
                let to = out.floatRow(row)
                guard places[2 * row] >= 0 else {
                    to.update(repeating: 0, count: out.width)
                    continue
                }
                let (corner, line) = (Int(places[2 * row]), Int(places[2 * row + 1]))
                for y in 0..<patchSize {
                    var pixel = bytes + 3 * (corner + y * line)
                    for x in y * patchSize..<(y + 1) * patchSize {
                        to[x] = table[Int(pixel[0])]
                        to[frames * plane + x] = table[256 + Int(pixel[1])]
                        to[2 * frames * plane + x] = table[512 + Int(pixel[2])]
                        pixel += 3
                    }
                }
                for channel in 0..<3 {
                    let first = to + channel * frames * plane
                    for frame in 1..<frames { (first + frame * plane).update(from: first, count: plane) }
                }
            }
        }
    }
}
