/// Whether the bytes are well-formed UTF-8 (no overlong forms, no surrogates, nothing past U+10FFFF).
package func isValidUTF8(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    var at = 0
    let count = bytes.count
    while at < count {
        let lead = bytes[at]
        if lead < 0x80 {
            at += 1
            continue
        }
        // Length of the sequence and the range of its second byte (Unicode, table 3-7).
        let length: Int
        let second: ClosedRange<UInt8>
        switch lead {
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: return false
        }
        guard at + length <= count, second ~= bytes[at + 1] else { return false }
        for offset in 2..<max(2, length) where bytes[at + offset] & 0xC0 != 0x80 { return false }
        at += length
    }
    return true
}
