import Foundation

// How Python reads and rounds numbers.

extension PythonText {
    /// Python's `int(text, base)`; nil where it raises a ValueError or the value needs more than 64 bits.
    static func integer(_ text: String, base: Int) -> Int? {
        var digits = Array(strip(text, nil).utf8)[...]
        var sign = ""
        if let first = digits.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            sign = first == UInt8(ascii: "-") ? "-" : ""
            digits.removeFirst()
        }
        var radix = base
        let prefixes: [UInt8: Int] = [0x78: 16, 0x6F: 8, 0x62: 2]
        if digits.count > 2, digits.first == UInt8(ascii: "0"),
            let prefixed = prefixes[digits[digits.startIndex + 1] | 0x20], base == 0 || base == prefixed
        {
            radix = prefixed
            digits = digits.dropFirst(2)
            if digits.first == UInt8(ascii: "_") { digits.removeFirst() }
        } else if base == 0 {
            radix = 10
            if digits.first == UInt8(ascii: "0"), digits.contains(where: { $0 != 0x30 && $0 != 0x5F }) { return nil }
        }
        guard (2...36).contains(radix), let plain = withoutUnderscores(digits) else { return nil }
        return Int(sign + plain, radix: radix)
    }

    /// Python's `float(text)`; nil where it raises a ValueError.
    static func float(_ text: String) -> Double? {
        let stripped = strip(text, nil)
        var word = stripped.lowercased()
        var sign = 1.0
        if let first = word.first, first == "-" || first == "+" {
            sign = first == "-" ? -1 : 1
            word.removeFirst()
        }
        if word == "inf" || word == "infinity" { return sign * .infinity }
        if word == "nan" { return .nan }
        let isDecimal = word.utf8.allSatisfy { (48...57).contains($0) || "._e+-".utf8.contains($0) }
        guard isDecimal, let plain = withoutUnderscores(Array(word.utf8)[...]) else { return nil }
        // Swift wants a digit on both sides of the point, Python on one.
        var padded = plain.hasPrefix(".") ? "0" + plain : plain
        if let point = padded.firstIndex(of: ".") {
            let after = padded.index(after: point)
            if after == padded.endIndex || padded[after] == "e" {
                guard point > padded.startIndex, plain != "." else { return nil }
                padded.insert("0", at: after)
            }
        }
        guard
            plain.utf8.first.map({ (48...57).contains($0) }) ?? false
                || plain.utf8.dropFirst().first.map({ (48...57).contains($0) }) ?? false,
            let value = Double(padded)
        else { return nil }
        return sign * value
    }

    /// Digits without the single underscores that may stand between two of them.
    private static func withoutUnderscores(_ digits: ArraySlice<UInt8>) -> String? {
        var result: [UInt8] = []
        var previous = UInt8(ascii: "_")
        func isAlphanumeric(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (97...122).contains(byte | 0x20) }
        for byte in digits {
            if byte == UInt8(ascii: "_") {
                guard isAlphanumeric(previous) else { return nil }
            } else {
                if previous == UInt8(ascii: "_"), !result.isEmpty, !isAlphanumeric(byte) { return nil }
                result.append(byte)
            }
            previous = byte
        }
        guard !result.isEmpty, previous != UInt8(ascii: "_") else { return nil }
        return String(decoding: result, as: UTF8.self)
    }

    /// Python's `round(value, precision)`: rounds the exact decimal expansion, halves to even.
    static func rounded(_ value: Double, _ precision: Int) -> Double {
        guard value.isFinite, precision < 324 else { return value }
        guard precision > -309 else { return Double(signOf: value, magnitudeOf: 0) }
        if precision >= 0 { return Double(String(format: "%.*f", precision, value)) ?? value }
        let unit = pow(10, Double(-precision))
        return (value / unit).rounded(.toNearestOrEven) * unit
    }
}
