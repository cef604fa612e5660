/// A pull reader over a JSON document in memory.
///
/// `JSONValue` is built with it, and large files of a known form (vocabularies, tensor indices) are read with it directly
/// without making a value per element. The buffer must outlive the reader; every read is bounds-checked.
///
/// Containers are read as `try reader.beginObject(); while try reader.nextKey(&key) { … read or skip one value … }`.
package struct JSONReader {
    /// Deeper nesting is refused: reading, comparing and freeing values recurse.
    package static let depthLimit = 512

    private let bytes: UnsafeBufferPointer<UInt8>
    private let source: String
    package private(set) var position = 0
    private var depth = 0
    /// Whether the innermost container has just been opened, so that no comma is due.
    private var atStart = false

    package init(_ bytes: UnsafeBufferPointer<UInt8>, source: String) {
        self.bytes = bytes
        self.source = source
        // A byte order mark, which json.loads accepts in front of bytes.
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { position = 3 }
    }

    /// What the next value is, seen from its first byte.
    package enum Kind { case object, array, string, number, bool, null }

    // MARK: - Containers

    package mutating func beginObject() throws(JSONError) { try begin(UInt8(ascii: "{"), "an object") }
    package mutating func beginArray() throws(JSONError) { try begin(UInt8(ascii: "["), "an array") }

    private mutating func begin(_ open: UInt8, _ what: String) throws(JSONError) {
        guard nextByte() == open else { throw error("expected \(what)") }
        depth += 1
        guard depth <= Self.depthLimit else { throw error("nested deeper than \(Self.depthLimit) levels") }
        position += 1
        atStart = true
    }

    /// Moves to the next member's value and gives its key; false after consuming the closing brace.
    package mutating func nextKey(_ key: inout String) throws(JSONError) -> Bool {
        guard try advance(to: UInt8(ascii: "}")) else { return false }
        guard nextByte() == UInt8(ascii: "\"") else { throw error("expected a member name in double quotes") }
        key = try readString()
        guard nextByte() == UInt8(ascii: ":") else { throw error("expected ':' after a member name") }
        position += 1
        return true
    }

    /// As `nextKey(_:)`, giving the key's UTF-8 bytes.
    package mutating func nextKey(bytes key: inout [UInt8]) throws(JSONError) -> Bool {
        guard try advance(to: UInt8(ascii: "}")) else { return false }
        guard nextByte() == UInt8(ascii: "\"") else { throw error("expected a member name in double quotes") }
        key.removeAll(keepingCapacity: true)
        try appendString(to: &key)
        guard nextByte() == UInt8(ascii: ":") else { throw error("expected ':' after a member name") }
        position += 1
        return true
    }

    /// Moves to the next element; false after consuming the closing bracket.
    package mutating func nextElement() throws(JSONError) -> Bool { try advance(to: UInt8(ascii: "]")) }

    private mutating func advance(to close: UInt8) throws(JSONError) -> Bool {
        let byte = nextByte()
        if byte == close {
            position += 1
            depth -= 1
            atStart = false
            return false
        }
        if atStart {
            atStart = false
        } else {
            guard byte == UInt8(ascii: ",") else {
                throw error("expected ',' or '\(Character(Unicode.Scalar(close)))'")
            }
            position += 1
            if nextByte() == close { throw error("trailing comma") }
        }
        return true
    }

    // MARK: - Values

    /// The kind of the value that follows; an error at the end of the document or on a byte that starts no value.
    package mutating func peekKind() throws(JSONError) -> Kind {
        guard let byte = nextByte() else { throw error("unexpected end of the document") }
        switch byte {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "N"), UInt8(ascii: "I"): return .number
        default: throw error("expected a value")
        }
    }

    package mutating func readValue() throws(JSONError) -> JSONValue {
        switch try peekKind() {
        case .string: return .string(try readString())
        case .number: return try readNumber()
        case .bool: return .bool(try readBool())
        case .null:
            try readWord("null")
            return .null
        case .array:
            var elements: [JSONValue] = []
            try beginArray()
            while try nextElement() {
                do throws(JSONError) {
                    elements.append(try readValue())
                } catch {
                    throw error.inside("[\(elements.count)]")
                }
            }
            return .array(elements)
        case .object:
            var members = JSONObject()
            var key = ""
            try beginObject()
            while try nextKey(&key) {
                do throws(JSONError) {
                    members[key] = try readValue()
                } catch {
                    throw error.inside(".\(key)")
                }
            }
            return .object(members)
        }
    }

    /// Reads past a value, checking its syntax.
    package mutating func skipValue() throws(JSONError) {
        switch try peekKind() {
        case .string: _ = try scanString()
        case .number: _ = try readNumber()
        case .bool: _ = try readBool()
        case .null: try readWord("null")
        case .array:
            try beginArray()
            while try nextElement() { try skipValue() }
        case .object:
            var key: [UInt8] = []
            try beginObject()
            while try nextKey(bytes: &key) { try skipValue() }
        }
    }

    package mutating func readBool() throws(JSONError) -> Bool {
        let isTrue = nextByte() == UInt8(ascii: "t")
        try readWord(isTrue ? "true" : "false")
        return isTrue
    }

    package mutating func readInt() throws(JSONError) -> Int {
        guard let value = try readNumber().intValue else { throw error("expected an integer of at most 64 bits") }
        return value
    }

    package mutating func readDouble() throws(JSONError) -> Double {
        guard let value = try readNumber().doubleValue else { throw error("expected a number") }
        return value
    }

    private mutating func readWord(_ word: StaticString) throws(JSONError) {
        guard try matchWord(word) else { throw error("expected a value") }
    }

    private mutating func matchWord(_ word: StaticString) throws(JSONError) -> Bool {
        _ = nextByte()
        let length = word.utf8CodeUnitCount
        guard position + length <= bytes.count else { return false }
        for offset in 0..<length where bytes[position + offset] != word.utf8Start[offset] { return false }
        position += length
        return true
    }

    // MARK: - Numbers

    private mutating func readNumber() throws(JSONError) -> JSONValue {
        _ = nextByte()
        let start = position
        if try matchWord("NaN") { return .number(.nan) }
        if try matchWord("Infinity") { return .number(.infinity) }
        if try matchWord("-Infinity") { return .number(-.infinity) }
        let negative = byte(at: position) == UInt8(ascii: "-")
        if negative { position += 1 }
        guard let first = byte(at: position), isDigit(first) else {
            position = start
            throw error("expected a value")
        }
        // The decimal significand, as far as 64 bits hold it, and the power of ten it stands for.
        var significand: UInt64 = 0
        var exact = true
        var exponent = 0
        func add(_ digit: UInt8) {
            guard exact else { return }
            let (product, overflow) = significand.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
            if overflow || carry { exact = false } else { significand = sum }
        }
        if first == UInt8(ascii: "0") {
            position += 1
        } else {
            while let digit = byte(at: position), isDigit(digit) {
                add(digit)
                position += 1
            }
        }
        var isInteger = true
        if byte(at: position) == UInt8(ascii: "."), let digit = byte(at: position + 1), isDigit(digit) {
            isInteger = false
            position += 1
            while let digit = byte(at: position), isDigit(digit) {
                add(digit)
                exponent -= 1
                position += 1
            }
        }
        if let mark = byte(at: position), mark | 0x20 == UInt8(ascii: "e") {
            var next = position + 1
            var negativeExponent = false
            if let sign = byte(at: next), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
                negativeExponent = sign == UInt8(ascii: "-")
                next += 1
            }
            if let digit = byte(at: next), isDigit(digit) {
                isInteger = false
                var value = 0
                while let digit = byte(at: next), isDigit(digit) {
                    // Far beyond any double; stops growing so that it cannot overflow.
                    if value < 100_000 { value = value * 10 + Int(digit - UInt8(ascii: "0")) }
                    next += 1
                }
                exponent += negativeExponent ? -value : value
                position = next
            }
        }
        if isInteger, exact {
            if !negative, let value = Int(exactly: significand) { return .integer(value) }
            if negative, significand <= UInt64(Int.max) + 1 { return .integer(Int(truncatingIfNeeded: 0 &- significand)) }
        }
        // Clinger's fast path: both operands are exact doubles, so one rounding gives the nearest result.
        if exact, significand <= 1 << 53, -22...22 ~= exponent {
            let power = powersOfTen[abs(exponent)]
            let value = exponent < 0 ? Double(significand) / power : Double(significand) * power
            return .number(negative ? -value : value)
        }
        let text = String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
        guard let value = Double(text) else {
            throw error("number out of range")
        }
        return .number(value)
    }

    // MARK: - Strings

    package mutating func readString() throws(JSONError) -> String {
        let (range, hasEscapes) = try scanString()
        if !hasEscapes {
            let raw = UnsafeBufferPointer(rebasing: bytes[range])
            guard let text = String(validating: raw, as: UTF8.self) else { throw invalidUTF8(in: range) }
            return text
        }
        var unescaped: [UInt8] = []
        try unescape(range, into: &unescaped)
        guard let text = String(validating: unescaped, as: UTF8.self) else { throw invalidUTF8(in: range) }
        return text
    }

    /// Appends the bytes of the string value that follows; they are valid UTF-8.
    package mutating func appendString(to output: inout [UInt8]) throws(JSONError) {
        let (range, hasEscapes) = try scanString()
        let raw = UnsafeBufferPointer(rebasing: bytes[range])
        guard isValidUTF8(raw) else { throw invalidUTF8(in: range) }
        if hasEscapes { try unescape(range, into: &output) } else { output.append(contentsOf: raw) }
    }

    /// Moves past a string; gives the range between its quotes and whether that contains escapes.
    private mutating func scanString() throws(JSONError) -> (range: Range<Int>, hasEscapes: Bool) {
        guard nextByte() == UInt8(ascii: "\"") else { throw error("expected a string") }
        let start = position + 1
        var at = start
        var hasEscapes = false
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                position = at + 1
                return (start..<at, hasEscapes)
            }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                at += 2
            } else if byte < 0x20 {
                position = at
                throw error("control character in a string; write it as \\u escape")
            } else {
                at += 1
            }
        }
        throw error("unterminated string")
    }

    private mutating func unescape(_ range: Range<Int>, into output: inout [UInt8]) throws(JSONError) {
        var at = range.lowerBound
        while at < range.upperBound {
            let byte = bytes[at]
            guard byte == UInt8(ascii: "\\") else {
                output.append(byte)
                at += 1
                continue
            }
            switch bytes[at + 1] {
            case UInt8(ascii: "\""): output.append(UInt8(ascii: "\""))
            case UInt8(ascii: "\\"): output.append(UInt8(ascii: "\\"))
            case UInt8(ascii: "/"): output.append(UInt8(ascii: "/"))
            case UInt8(ascii: "b"): output.append(0x08)
            case UInt8(ascii: "f"): output.append(0x0C)
            case UInt8(ascii: "n"): output.append(0x0A)
            case UInt8(ascii: "r"): output.append(0x0D)
            case UInt8(ascii: "t"): output.append(0x09)
            case UInt8(ascii: "u"):
                guard var code = hexQuad(at: at + 2, limit: range.upperBound) else {
                    position = at
                    throw error("\\u needs four hexadecimal digits")
                }
                if code & 0xFC00 == 0xD800, byteIs(at + 6, "\\", range), byteIs(at + 7, "u", range),
                    let low = hexQuad(at: at + 8, limit: range.upperBound), low & 0xFC00 == 0xDC00
                {
                    code = 0x10000 + ((code & 0x3FF) << 10 | low & 0x3FF)
                    at += 6
                }
                guard let scalar = Unicode.Scalar(code) else {
                    position = at
                    throw error("lone surrogate \\u escape")
                }
                output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
                at += 4
            default:
                position = at
                throw error("unknown escape in a string")
            }
            at += 2
        }
    }

    private func byteIs(_ at: Int, _ expected: Unicode.Scalar, _ range: Range<Int>) -> Bool {
        at < range.upperBound && bytes[at] == UInt8(ascii: expected)
    }

    private func hexQuad(at: Int, limit: Int) -> UInt32? {
        guard at + 4 <= limit else { return nil }
        var code: UInt32 = 0
        for offset in at..<at + 4 {
            switch bytes[offset] {
            case let digit where isDigit(digit): code = code << 4 | UInt32(digit - UInt8(ascii: "0"))
            case let digit where 0x61...0x66 ~= digit | 0x20: code = code << 4 | UInt32((digit | 0x20) - 0x61 + 10)
            default: return nil
            }
        }
        return code
    }

    // MARK: - Position and errors

    /// Checks that nothing but white space is left.
    package mutating func finish() throws(JSONError) {
        if nextByte() != nil { throw error("extra data after the document") }
    }

    /// An error at the present position; callers add the member they were reading with `inside(_:)`.
    package func error(_ message: String) -> JSONError {
        var line = 1
        var lineStart = 0
        let stop = min(position, bytes.count)
        for at in 0..<stop where bytes[at] == 0x0A {
            line += 1
            lineStart = at + 1
        }
        // Continuation bytes do not start a scalar.
        let column = bytes[lineStart..<stop].count { $0 & 0xC0 != 0x80 } + 1
        return JSONError(source: source, line: line, column: column, message: message)
    }

    private mutating func invalidUTF8(in range: Range<Int>) -> JSONError {
        position = range.lowerBound
        return error("invalid UTF-8 in a string")
    }

    /// The next byte that is not white space, left unread; nil at the end.
    private mutating func nextByte() -> UInt8? {
        while position < bytes.count {
            let byte = bytes[position]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return byte }
            position += 1
        }
        return nil
    }

    private func byte(at: Int) -> UInt8? { at < bytes.count ? bytes[at] : nil }
}

extension JSONError {
    /// The same error with `component` (`.name` or `[3]`) put in front of its path.
    package func inside(_ component: String) -> JSONError {
        JSONError(source: source, path: "$" + component + path.dropFirst(), line: line, column: column, message: message)
    }
}

private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

/// 10^0 … 10^22, the powers of ten that a double holds exactly.
private let powersOfTen: [Double] = (0...22).map { exponent in (0..<exponent).reduce(1.0) { power, _ in power * 10 } }
