extension JSONValue {
    /// The document as Python's `json.dumps` writes it.
    /// - Parameters:
    ///   - indent: spaces per level; nil writes one line.
    ///   - sortedKeys: members in code point order instead of their own.
    ///   - asciiOnly: Python's `ensure_ascii`; everything outside printable ASCII is written as `\u` escapes.
    ///   - itemSeparator: between elements; by default `", "`, or `","` with an indent.
    ///   - keySeparator: between a name and its value; by default `": "`.
    package func serialized(
        indent: Int? = nil, sortedKeys: Bool = false, asciiOnly: Bool = false, itemSeparator: String? = nil,
        keySeparator: String? = nil
    ) -> String {
        var writer = JSONWriter(
            indent: indent.map { String(repeating: " ", count: max(0, $0)) }, sortedKeys: sortedKeys, asciiOnly: asciiOnly,
            itemSeparator: Array((itemSeparator ?? (indent == nil ? ", " : ",")).utf8),
            keySeparator: Array((keySeparator ?? ": ").utf8))
        writer.write(self, level: 0)
        return String(decoding: writer.output, as: UTF8.self)
    }
}

private struct JSONWriter {
    let indent: String?
    let sortedKeys: Bool
    let asciiOnly: Bool
    let itemSeparator: [UInt8]
    let keySeparator: [UInt8]
    var output: [UInt8] = []

    mutating func write(_ value: JSONValue, level: Int) {
        switch value {
        case .null: append("null")
        case .bool(let value): append(value ? "true" : "false")
        case .integer(let value): append(String(value))
        case .number(let value): append(pythonRepr(value))
        case .string(let value): write(value)
        case .array(let elements):
            writeContainer("[", "]", count: elements.count, level: level) { writer, position in
                writer.write(elements[position], level: level + 1)
            }
        case .object(let object):
            var members = Array(object)
            if sortedKeys { members.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } }
            writeContainer("{", "}", count: members.count, level: level) { writer, position in
                writer.write(members[position].key)
                writer.output += writer.keySeparator
                writer.write(members[position].value, level: level + 1)
            }
        }
    }

    private mutating func writeContainer(
        _ open: String, _ close: String, count: Int, level: Int, element: (inout JSONWriter, Int) -> Void
    ) {
        append(open)
        for position in 0..<count {
            if position > 0 { output += itemSeparator }
            newline(level + 1)
            element(&self, position)
        }
        if count > 0 { newline(level) }
        append(close)
    }

    private mutating func newline(_ level: Int) {
        guard let indent else { return }
        output.append(0x0A)
        for _ in 0..<level { append(indent) }
    }

    private mutating func write(_ text: String) {
        output.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": append("\\\"")
            case "\\": append("\\\\")
            case "\n": append("\\n")
            case "\r": append("\\r")
            case "\t": append("\\t")
            case "\u{8}": append("\\b")
            case "\u{C}": append("\\f")
            default:
                if scalar.value < 0x20 || (asciiOnly && scalar.value > 0x7E) {
                    for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter { writeEscape(unit) }
                } else if scalar.value < 0x80 {
                    output.append(UInt8(truncatingIfNeeded: scalar.value))
                } else {
                    output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
                }
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    private mutating func writeEscape(_ unit: UInt16) {
        let hex = String(unit, radix: 16)
        append("\\u" + String(repeating: "0", count: 4 - hex.count) + hex)
    }

    private mutating func append(_ text: String) { output.append(contentsOf: text.utf8) }
}

/// A float as Python's `repr` and `json` write it: the shortest digits that read back the same, in positional form for
/// exponents from -4 to 15 and in scientific form (`1e-05`, `1.5e+16`) outside.
package func pythonRepr(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    let sign = value.sign == .minus ? "-" : ""
    if value == 0 { return sign + "0.0" }
    // Swift prints the same shortest digits but chooses the form differently, so take the digits and place the point.
    var digits: [UInt8] = []
    var pointAt: Int?
    var exponent = 0
    let text = Array(value.magnitude.description.utf8)
    for (at, byte) in text.enumerated() {
        if byte == UInt8(ascii: ".") {
            pointAt = digits.count
        } else if byte | 0x20 == UInt8(ascii: "e") {
            exponent = Int(String(decoding: text[(at + 1)...], as: UTF8.self)) ?? 0
            break
        } else {
            digits.append(byte)
        }
    }
    exponent += pointAt ?? digits.count
    let leading = digits.prefix { $0 == UInt8(ascii: "0") }.count
    digits.removeFirst(leading)
    exponent -= leading
    while digits.last == UInt8(ascii: "0") { digits.removeLast() }
    // The value is now 0.DIGITS * 10^exponent.
    let text2 = String(decoding: digits, as: UTF8.self)
    let scientific = exponent - 1
    if scientific < -4 || scientific >= 16 {
        let mantissa = digits.count == 1 ? text2 : text2.prefix(1) + "." + text2.dropFirst()
        let magnitude = String(abs(scientific))
        let padded = magnitude.count < 2 ? "0" + magnitude : magnitude
        return sign + mantissa + "e" + (scientific < 0 ? "-" : "+") + padded
    }
    if exponent <= 0 { return sign + "0." + String(repeating: "0", count: -exponent) + text2 }
    if exponent >= digits.count { return sign + text2 + String(repeating: "0", count: exponent - digits.count) + ".0" }
    return sign + text2.prefix(exponent) + "." + text2.dropFirst(exponent)
}
