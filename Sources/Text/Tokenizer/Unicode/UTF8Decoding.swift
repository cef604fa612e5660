/// The scalar that starts at `at` in valid UTF-8, and its length in bytes.
///
/// The buffers of this module are made from Swift strings or validated at load, so only the lead byte is examined.
@inline(__always)
func decodeScalar(_ bytes: UnsafeBufferPointer<UInt8>, _ at: Int) -> (scalar: UInt32, length: Int) {
    let lead = UInt32(bytes[at])
    if lead < 0x80 { return (lead, 1) }
    if lead < 0xE0 { return ((lead & 0x1F) << 6 | UInt32(bytes[at + 1]) & 0x3F, 2) }
    if lead < 0xF0 {
        return ((lead & 0x0F) << 12 | (UInt32(bytes[at + 1]) & 0x3F) << 6 | UInt32(bytes[at + 2]) & 0x3F, 3)
    }
    let high = (lead & 0x07) << 18 | (UInt32(bytes[at + 1]) & 0x3F) << 12
    return (high | (UInt32(bytes[at + 2]) & 0x3F) << 6 | UInt32(bytes[at + 3]) & 0x3F, 4)
}

/// The start of the scalar that ends just before `at`.
@inline(__always)
func scalarStart(before at: Int, in bytes: UnsafeBufferPointer<UInt8>) -> Int {
    var start = at - 1
    while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return start
}

/// Length in bytes of the scalar that a lead byte starts.
@inline(__always)
func scalarLength(lead: UInt8) -> Int { lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4 }

extension [UInt8] {
    /// Appends a scalar as UTF-8.
    @inline(__always)
    mutating func append(scalar: UInt32) {
        if scalar < 0x80 {
            append(UInt8(truncatingIfNeeded: scalar))
        } else if scalar < 0x800 {
            append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        } else if scalar < 0x10000 {
            append(UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 6 & 0x3F))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        } else {
            append(UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 12 & 0x3F))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 6 & 0x3F))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        }
    }
}
