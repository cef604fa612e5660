/// 128 bits that tell contents apart, except by accident: who finds equal hashes compares the contents.
package struct ContentHash: Hashable, Sendable {
    package var low: UInt64
    package var high: UInt64

    package init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// The hash of some bytes.
    ///
    /// Four lanes take 64 bytes at a turn, each by a 64 by 64 to 128 bit product folded in half, so the processor's multiplier is busy and
    /// memory sets the pace.
    package init(_ bytes: UnsafeRawBufferPointer) {
        var lanes = Self.start
        var offset = 0
        func word(_ index: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: offset + 8 * index, as: UInt64.self) }
        while offset + 64 <= bytes.count {
            lanes.0 = Self.fold(lanes.0 ^ word(0), Self.odd.1 ^ word(1))
            lanes.1 = Self.fold(lanes.1 ^ word(2), Self.odd.2 ^ word(3))
            lanes.2 = Self.fold(lanes.2 ^ word(4), Self.odd.3 ^ word(5))
            lanes.3 = Self.fold(lanes.3 ^ word(6), Self.odd.0 ^ word(7))
            offset += 64
        }
        while offset + 8 <= bytes.count {
            lanes.0 = Self.fold(lanes.0 ^ word(0), Self.odd.2)
            (lanes.0, lanes.1, lanes.2, lanes.3) = (lanes.1, lanes.2, lanes.3, lanes.0)
            offset += 8
        }
        var rest: UInt64 = 0
        while offset < bytes.count {
            rest = rest << 8 | UInt64(bytes[offset])
            offset += 1
        }
        let size = UInt64(bytes.count)
        low = Self.fold(Self.fold(lanes.0 ^ rest, lanes.1 ^ Self.odd.3), Self.fold(lanes.2 ^ size, lanes.3 ^ Self.odd.0))
        high = Self.fold(Self.fold(lanes.2 ^ Self.odd.1, lanes.0 ^ size), Self.fold(lanes.3 ^ rest, lanes.1 ^ Self.odd.2))
    }

    /// This hash and then another one.
    package func followed(by other: ContentHash) -> ContentHash {
        ContentHash(
            low: Self.fold(low ^ Self.odd.0, other.low ^ high), high: Self.fold(high ^ Self.odd.1, other.high ^ low))
    }

    /// The two halves of the product.
    @inline(__always) static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// Fractions of the square roots of the first primes: numbers with nothing up their sleeve, those of the lanes' beginnings unlike the others,
    /// lest a factor be zero.
    private static let start: (UInt64, UInt64, UInt64, UInt64) = (
        0x510E_527F_ADE6_82D1, 0x9B05_688C_2B3E_6C1F, 0x1F83_D9AB_FB41_BD6B, 0x5BE0_CD19_137E_2179
    )
    static let odd: (UInt64, UInt64, UInt64, UInt64) = (
        0x6A09_E667_F3BC_C909, 0xBB67_AE85_84CA_A73B, 0x3C6E_F372_FE94_F82B, 0xA54F_F53A_5F1D_36F1
    )
}
