import CCPUKernels
import Tensors

/// What the machine was measured to do: the limits that operations are compared with.
///
/// A shared machine's limits move from minute to minute, so measure them beside whatever is compared with them.
package struct Ceilings: Sendable {
    /// Threads that took part.
    package let threads: Int
    /// Bytes read per second from memory, every thread reading one stream of its own.
    package let readBandwidth: Double
    /// Floating-point operations per second of float32 multiply-adds.
    package let float32: Double
    /// Floating-point operations per second of the multiply-adds that bfloat16 weights go through: BF16 dot products where the
    /// processor has them, float32 elsewhere.
    package let bfloat16: Double
}

/// One multiplication timed against the machine's limits.
package struct LinearMeasurement: Sendable {
    package let rows: Int
    package let outFeatures: Int
    package let inFeatures: Int
    /// Seconds of one call: the median of several.
    package let seconds: Double
    /// Seconds of the fastest call, to be compared with ceilings, which are the best of several too.
    package let best: Double

    /// Floating-point operations per second at best: 2 · T · N · K over the time.
    package var rate: Double { 2 * Double(rows) * Double(outFeatures) * Double(inFeatures) / best }
    /// Bytes of packed weights per second at best.
    package var bandwidth: Double { Double(weightBytes) / best }
    let weightBytes: Int
}

extension CPUBackend {
    /// Measures the machine with `threads` threads of the pool; takes about half a second.
    ///
    /// - Parameters:
    ///   - threads: nil for all.
    ///   - bytes: read in all; well above the last cache's size.
    ///   - trials: the best of so many counts.
    /// - Throws: ``TensorError`` when there is no memory for the reads.
    package func ceilings(threads: Int? = nil, bytes: Int = 512 << 20, trials: Int = 3) throws -> Ceilings {
        let threads = max(1, min(threads ?? pool.threadCount, pool.threadCount))
        let part = max(bytes / threads / 4096, 1) * 4096
        let buffer = try allocate(byteCount: part * threads, purpose: "bandwidth measurement")
        // Untouched memory is one page of zeros that stays in the cache.
        pool.parallelFor(threads) { unit, _ in
            (buffer.pointer + unit * part).initializeMemory(as: UInt8.self, repeating: 1, count: part)
        }
        let isa = instructionSet.isa
        let readSeconds = best(of: trials) {
            pool.parallelFor(threads) { unit, _ in
                let sum = vlm_ceiling_read(isa, buffer.pointer + unit * part, part)
                precondition(sum != 1, "never: keeps the reads")
            }
        }
        func multiplyRate(_ kind: vlm_gemm_kind) -> Double {
            let rounds = instructionSet == .scalar ? 400_000 : 1_000_000
            var operations = 0.0
            let seconds = best(of: trials) {
                pool.parallelFor(threads) { unit, _ in
                    let count = vlm_ceiling_multiply(isa, kind, rounds)
                    if unit == 0 { operations = count * Double(threads) }
                }
            }
            return operations / seconds
        }
        return Ceilings(
            threads: threads, readBandwidth: Double(part * threads) / readSeconds, float32: multiplyRate(VLM_GEMM_F32),
            bfloat16: multiplyRate(vlm_gemm_bf16_kind(isa)))
    }

    /// Times `x [rows, inFeatures]` times a weight `[outFeatures, inFeatures]` of this backend's weight type.
    ///
    /// So that one row shows the speed of memory and not of a cache, calls go round several weights of at least `footprint`
    /// bytes together.
    ///
    /// - Throws: ``TensorError`` when there is no memory.
    package func measureLinear(
        rows: Int, outFeatures: Int, inFeatures: Int, footprint: Int = 256 << 20, seconds: Double = 0.3
    ) throws -> LinearMeasurement {
        let copies = max(1, min(64, footprint / (outFeatures * inFeatures * weightType.size)))
        let source = try allocate(byteCount: outFeatures * inFeatures * 2, purpose: "linear measurement")
        let bits = source.pointer.assumingMemoryBound(to: UInt16.self)
        // Small numbers of mixed sign: 0.0117 to 0.0156.
        for index in 0..<outFeatures * inFeatures { bits[index] = 0x3c40 + UInt16(index & 63) | UInt16((index & 1) << 15) }
        let host = HostTensor(
            name: "measured weight", dtype: .bfloat16, dimensions: [outFeatures, inFeatures],
            bytes: UnsafeRawBufferPointer(start: source.pointer, count: source.byteCount), owner: source)
        let weights = try (0..<copies).map { _ in try makeLinear([host], bias: nil, combine: .concatenated) }
        let activations = try allocate(byteCount: rows * (inFeatures + outFeatures) * 4, purpose: "linear measurement")
        let x = Tensor(pointer: activations.pointer, dtype: .float32, shape: Shape(rows, inFeatures))
        let out = Tensor(pointer: activations.pointer + x.byteCount, dtype: .float32, shape: Shape(rows, outFeatures))
        let values = x.pointer.assumingMemoryBound(to: Float.self)
        for index in 0..<x.count { values[index] = Float(index % 17) / 16 - 0.5 }

        for weight in weights { try linear(x, weight, epilogue: .store, into: out) }
        var times: [Double] = []
        let start = vlm_seconds()
        repeat {
            let begin = vlm_seconds()
            for weight in weights { try linear(x, weight, epilogue: .store, into: out) }
            times.append((vlm_seconds() - begin) / Double(copies))
        } while times.count < 3 || vlm_seconds() - start < seconds
        times.sort()
        return LinearMeasurement(
            rows: rows, outFeatures: outFeatures, inFeatures: inFeatures, seconds: times[times.count / 2], best: times[0],
            weightBytes: outFeatures * inFeatures * weightType.size)
    }

    private func best(of trials: Int, _ body: () -> Void) -> Double {
        var best = Double.infinity
        for _ in 0..<max(1, trials) {
            let start = vlm_seconds()
            body()
            best = min(best, vlm_seconds() - start)
        }
        return best
    }
}
