import Foundation
import Tensors

/// Random weights in the shapes a model asks for, the same for the same seed and tensor name on every machine.
struct DummyWeights: Sendable {
    let seed: UInt64

    /// A bfloat16 tensor in memory of its own.
    func tensor(_ name: String, _ dimensions: [Int], fill: WeightBinder.DummyFill) throws -> HostTensor {
        let count = dimensions.reduce(1, *)
        let memory = try AnonymousMemory(byteCount: count * DType.bfloat16.size)
        let values = memory.bytes.bindMemory(to: UInt16.self)
        switch DummyWeights.resolve(fill, name: name) {
        case .constant(let value):
            // Fresh anonymous memory is zero already.
            if value != 0 { values.update(repeating: DummyWeights.bfloat16(value)) }
        case .normal(let deviation):
            fillNormal(values, deviation: deviation, stream: DummyWeights.hash(name, seed: seed))
        case .byName: break  // resolve never returns it
        }
        return HostTensor(
            name: name, dtype: .bfloat16, dimensions: dimensions, bytes: UnsafeRawBufferPointer(memory.bytes), owner: memory)
    }

    /// Turns `byName` into what the name says.
    private static func resolve(_ fill: WeightBinder.DummyFill, name: String) -> WeightBinder.DummyFill {
        guard case .byName = fill else { return fill }
        let parts = name.split(separator: ".")
        if parts.last == "bias" { return .constant(0) }
        if name.contains("norm") || name.contains("ln_q") || parts.last?.hasPrefix("lambda_") == true || parts.last == "ls1"
            || parts.last == "ls2"
        {
            return .constant(1)
        }
        return .normal(deviation: 0.02)
    }

    /// Fills with samples of a normal distribution of mean 0.
    ///
    /// Sixteen independent xorshift32 generators run in the lanes of a vector; the sum of a word's four bytes, centred, is normal
    /// enough (Irwin-Hall) and costs no table and no logarithm. The sum has variance 4·(256² - 1)/12.
    private func fillNormal(_ values: UnsafeMutableBufferPointer<UInt16>, deviation: Float, stream: UInt64) {
        let scale = deviation / (4 * (65536 - 1) / 12 as Float).squareRoot()
        var state = SIMD16<UInt32>(repeating: 0)
        for lane in 0..<16 {
            // Zero is the one state xorshift never leaves.
            state[lane] = UInt32(truncatingIfNeeded: DummyWeights.mix(stream &+ UInt64(lane))) | 1
        }
        guard let base = values.baseAddress else { return }
        var i = 0
        while i + 16 <= values.count {
            let bits = DummyWeights.next(&state, scale: scale)
            UnsafeMutableRawPointer(base + i).storeBytes(of: bits, as: SIMD16<UInt16>.self)
            i += 16
        }
        if i < values.count {
            let bits = DummyWeights.next(&state, scale: scale)
            for lane in 0..<(values.count - i) { values[i + lane] = bits[lane] }
        }
    }

    @inline(__always)
    private static func next(_ state: inout SIMD16<UInt32>, scale: Float) -> SIMD16<UInt16> {
        state ^= state &<< 13
        state ^= state &>> 17
        state ^= state &<< 5
        let pairs = (state & 0x00FF_00FF) &+ ((state &>> 8) & 0x00FF_00FF)
        let sum = (pairs & 0xFFFF) &+ (pairs &>> 16)
        let centred = SIMD16<Float>(SIMD16<Int32>(truncatingIfNeeded: sum)) - 510
        let rounded = unsafeBitCast(centred * scale, to: SIMD16<UInt32>.self) &+ 0x8000
        return SIMD16<UInt16>(truncatingIfNeeded: rounded &>> 16)
    }

    private static func bfloat16(_ value: Float) -> UInt16 { UInt16(truncatingIfNeeded: (value.bitPattern &+ 0x8000) >> 16) }

    /// FNV-1a over the name, then mixed with the seed. Swift's own hashes differ from run to run.
    private static func hash(_ name: String, seed: UInt64) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return mix(hash ^ mix(seed))
    }

    /// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
