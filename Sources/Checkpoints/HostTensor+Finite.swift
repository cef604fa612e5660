package import Tensors

extension HostTensor {
    /// Index of the first element that is NaN or infinite, or nil. Integer types are always finite.
    ///
    /// A 16- or 32-bit float is not finite exactly when its exponent is all ones; adding one to the exponent field then carries into
    /// the sign position. OR-ing those sums over a block is a handful of vector instructions per 64 bytes, so the scan runs at
    /// memory speed; only a block that has one is looked at element by element.
    package func firstNonFinite() -> Int? {
        withBytes { bytes in
            switch dtype {
            case .bfloat16: HostTensor.scan(bytes, exponent: UInt16(0x7F80))
            case .float16: HostTensor.scan(bytes, exponent: UInt16(0x7C00))
            case .float32: HostTensor.scan(bytes, exponent: UInt32(0x7F80_0000))
            case .float64: HostTensor.scan(bytes, exponent: UInt64(0x7FF0_0000_0000_0000))
            case .float8e5m2: HostTensor.scan(bytes, exponent: UInt8(0x7C))
            case .float8e4m3: bytes.firstIndex { $0 & 0x7F == 0x7F }  // the "fn" form: no infinity, NaN is all ones
            default: nil
            }
        }
    }

    private static func scan<Bits: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, exponent: Bits) -> Int? {
        let one = exponent & (~exponent &+ 1)  // the exponent's lowest bit
        let sign = exponent &+ one
        let size = MemoryLayout<Bits>.size
        let count = bytes.count / size
        let block = 4096
        var start = 0
        while start < count {
            let end = min(start + block, count)
            var seen: Bits = 0
            for i in start..<end {
                seen |= (bytes.loadUnaligned(fromByteOffset: i * size, as: Bits.self) & exponent) &+ one
            }
            if seen & sign != 0 {
                return (start..<end).first {
                    bytes.loadUnaligned(fromByteOffset: $0 * size, as: Bits.self) & exponent == exponent
                }
            }
            start = end
        }
        return nil
    }
}
