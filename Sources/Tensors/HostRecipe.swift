import Dispatch
import Synchronization

/// Numbers that follow from a formula, the same on every machine and device; bfloat16.
///
/// Element i depends on i alone, so that any part can be made anywhere: in vectors and threads here, by a kernel on a GPU.
package final class HostRecipe: Sendable {
    package enum Formula: Sendable, Equatable {
        case constant(Float)
        /// ``HostRecipe/word(_:key:)`` of the index; the sum of its four bytes, less 510 (their mean), times `scale`. That is normal enough
        /// (Irwin-Hall) and costs no table and no logarithm.
        case normal(key: UInt64, scale: Float)
    }

    package let formula: Formula
    private let isFilled = Mutex(false)

    package init(_ formula: Formula) { self.formula = formula }

    /// A recipe of normal numbers of mean 0. The sum of four bytes has variance 4 · (256² - 1)/12.
    package convenience init(deviation: Float, key: UInt64) {
        self.init(.normal(key: key, scale: deviation / (4 * (65536 - 1) / 12 as Float).squareRoot()))
    }

    /// Writes all elements, once; callers on other threads wait.
    func fill(_ bytes: UnsafeMutableRawBufferPointer) {
        isFilled.withLock { isFilled in
            guard !isFilled else { return }
            isFilled = true
            let values = Values(start: bytes.bindMemory(to: UInt16.self))
            let block = 1 << 20
            let count = values.start.count
            DispatchQueue.concurrentPerform(iterations: (count + block - 1) / block) { index in
                let first = index * block
                HostRecipe.fill(values.start, first..<min(first + block, count), formula)
            }
        }
    }

    private struct Values: @unchecked Sendable {  // threads write different parts
        let start: UnsafeMutableBufferPointer<UInt16>
    }

    private static func fill(_ values: UnsafeMutableBufferPointer<UInt16>, _ range: Range<Int>, _ formula: Formula) {
        switch formula {
        case .constant(let value): values[range].update(repeating: bfloat16(value))
        case .normal(let key, let scale):
            guard let base = values.baseAddress else { return }
            var i = range.lowerBound
            let steps = SIMD16<UInt32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
            // A block's length divides 2³², so the upper half of the index is that of its first element.
            let upper = UInt32(truncatingIfNeeded: i >> 32)
            while i < range.upperBound {
                let lower = SIMD16(repeating: UInt32(truncatingIfNeeded: i)) &+ steps
                let words = word(lower, upper: upper, key: key)
                let pairs = (words & 0x00FF_00FF) &+ ((words &>> 8) & 0x00FF_00FF)
                let sums = (pairs & 0xFFFF) &+ (pairs &>> 16)
                let centred = SIMD16<Float>(SIMD16<Int32>(truncatingIfNeeded: sums)) - 510
                let rounded = unsafeBitCast(centred * scale, to: SIMD16<UInt32>.self) &+ 0x8000
                let bits = SIMD16<UInt16>(truncatingIfNeeded: rounded &>> 16)
                if i + 16 <= range.upperBound {
                    UnsafeMutableRawPointer(base + i).storeBytes(of: bits, as: SIMD16<UInt16>.self)
                } else {
                    for lane in 0..<(range.upperBound - i) { base[i + lane] = bits[lane] }
                }
                i += 16
            }
        }
    }

    /// 32 random bits of an index: a multiply-xorshift mixer of 32-bit words (the constants are Ettinger's "lowbias32") with the key's halves
    /// put in before and inside, so that no two streams are shifts of one another.
    @inline(__always)
    private static func word(_ lower: SIMD16<UInt32>, upper: UInt32, key: UInt64) -> SIMD16<UInt32> {
        let inner = UInt32(truncatingIfNeeded: key >> 32) ^ (upper &* 0x9E37_79B9)
        var x = lower &+ SIMD16(repeating: UInt32(truncatingIfNeeded: key))
        x = (x ^ (x &>> 16)) &* 0x21F0_AAAD
        x ^= SIMD16(repeating: inner)
        x = (x ^ (x &>> 15)) &* 0xD35A_2D97
        return x ^ (x &>> 15)
    }

    /// A number's bfloat16 bits, as the recipes round them.
    package static func bfloat16(_ value: Float) -> UInt16 { UInt16(truncatingIfNeeded: (value.bitPattern &+ 0x8000) >> 16) }
}
