/// Makes a whole JSON document out of the beginning of one, again and again while it arrives.
///
/// The document is what is certain so far: a text that is being written is shown as far as it goes, except where the schema says that
/// its beginning means nothing (a date, one of several constants); numbers and words are left out until the character after them has
/// come, since `12` may go on to be `125`; a name without a value is left out; open lists and objects are closed. Cuts inside an
/// escape or a UTF-8 sequence show the text before them.
///
/// Each byte is looked at once. Whatever is not JSON ends the reading: the document stays as it was before.
package struct PartialJSON {
    /// What is read, and how far.
    private enum State {
        /// A value must follow; after `[` the list may end instead.
        case value(mayClose: Bool)
        case string(isName: Bool)
        /// After a backslash.
        case escape(isName: Bool)
        /// Inside `\uXXXX`.
        case unicode(isName: Bool, digits: Int, value: UInt32)
        case number
        /// What is left of `true`, `false` or `null`.
        case word(rest: ArraySlice<UInt8>)
        /// A name must follow; after `{` the object may end instead.
        case name(mayClose: Bool)
        case colon
        /// `,` or the end of the container must follow.
        case next
        case end
        case broken
    }

    private struct Container {
        let isObject: Bool
        /// Form of the container, where it is known.
        let schema: ExtractionSchema?
        /// Name of the member being read.
        var name: [UInt8] = []
    }

    private var bytes: [UInt8] = []
    private var containers: [Container] = []
    private var state = State.value(mayClose: false)
    private let root: ExtractionSchema?
    /// So much of `bytes` is a whole document once the open containers are closed; nil while there is no value.
    private var safeEnd: Int?
    /// So much of `bytes` is one once the text being read is closed, too.
    private var textEnd: Int?
    /// While a value is read that is shown only as a whole: how many containers enclose it.
    private var hiddenDepth: Int?
    /// Where the number being read begins.
    private var numberStart = 0
    /// Bytes that the UTF-8 sequence being read still lacks.
    private var missingBytes = 0
    /// The first half of a surrogate pair whose second half must follow.
    private var highSurrogate: UInt32?

    /// Starts an empty document.
    ///
    /// - Parameter schema: tells which texts are shown before they are whole; without it, all.
    package init(schema: ExtractionSchema? = nil) { root = schema }

    /// Whether the document has ended.
    package var isComplete: Bool { if case .end = state { true } else { false } }

    /// Whether something was read that is not JSON.
    package var isBroken: Bool { if case .broken = state { true } else { false } }

    /// The document as far as it is certain; nil before anything is.
    package var document: [UInt8]? {
        if let textEnd { return Array(bytes[..<textEnd]) + [UInt8(ascii: "\"")] + closers }
        return safeEnd.map { Array(bytes[..<$0]) + closers }
    }

    private var closers: [UInt8] {
        containers.prefix(hiddenDepth ?? .max).reversed().map { UInt8(ascii: $0.isObject ? "}" : "]") }
    }

    /// Reads on.
    package mutating func append(_ more: some Sequence<UInt8>) {
        for byte in more {
            bytes.append(byte)
            read(byte)
            if isBroken { return }
        }
    }

    private mutating func read(_ byte: UInt8) {
        switch state {
        case .value(let mayClose): readValue(byte, mayClose)
        case .string(let isName): readText(byte, isName)
        case .escape(let isName): readEscape(byte, isName)
        case .unicode(let isName, let digits, let value): readUnicode(byte, isName, digits, value)
        case .number:
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "e"),
                UInt8(ascii: "E"):
                break
            default:
                guard PartialJSON.isNumber(bytes[numberStart..<bytes.count - 1]) else { return state = .broken }
                endValue(at: bytes.count - 1)
                read(byte)
            }
        case .word(let rest):
            guard byte == rest.first else { return state = .broken }
            state = .word(rest: rest.dropFirst())
            if rest.count == 1 { endValue(at: bytes.count) }
        case .name(let mayClose):
            if isSpace(byte) { return }
            if byte == UInt8(ascii: "\"") {
                containers[containers.count - 1].name = []
                state = .string(isName: true)
            } else if byte == UInt8(ascii: "}"), mayClose {
                close()
            } else {
                state = .broken
            }
        case .colon:
            if isSpace(byte) { return }
            state = byte == UInt8(ascii: ":") ? .value(mayClose: false) : .broken
        case .next: readNext(byte)
        case .end: if !isSpace(byte) { state = .broken }
        case .broken: break
        }
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0A).contains(byte) || byte == 0x0D }

    // MARK: Values

    private mutating func readValue(_ byte: UInt8, _ mayClose: Bool) {
        if isSpace(byte) { return }
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            let schema = schemaOfValue
            beginValue(schema)
            let isObject = byte == UInt8(ascii: "{")
            containers.append(Container(isObject: isObject, schema: schema))
            state = isObject ? .name(mayClose: true) : .value(mayClose: true)
            if hiddenDepth == nil { safeEnd = bytes.count }
        case UInt8(ascii: "]") where mayClose: close()
        case UInt8(ascii: "\""):
            beginValue(schemaOfValue)
            state = .string(isName: false)
            markText(isName: false)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            state = .number
            numberStart = bytes.count - 1
        case UInt8(ascii: "t"): state = .word(rest: Array("rue".utf8)[...])
        case UInt8(ascii: "f"): state = .word(rest: Array("alse".utf8)[...])
        case UInt8(ascii: "n"): state = .word(rest: Array("ull".utf8)[...])
        default: state = .broken
        }
    }

    private var schemaOfValue: ExtractionSchema? {
        guard let container = containers.last else { return root }
        return container.isObject
            ? container.schema?.member(String(decoding: container.name, as: UTF8.self)) : container.schema?.element
    }

    private mutating func beginValue(_ schema: ExtractionSchema?) {
        if hiddenDepth == nil, let schema, schema.isAtomic { hiddenDepth = containers.count }
    }

    private mutating func endValue(at end: Int) {
        if let depth = hiddenDepth, depth == containers.count { hiddenDepth = nil }
        if hiddenDepth == nil { safeEnd = end }
        textEnd = nil
        state = containers.isEmpty ? .end : .next
    }

    private mutating func close() {
        containers.removeLast()
        endValue(at: bytes.count)
    }

    private mutating func readNext(_ byte: UInt8) {
        guard let container = containers.last, !isSpace(byte) else { return }
        switch byte {
        case UInt8(ascii: ","): state = container.isObject ? .name(mayClose: false) : .value(mayClose: false)
        case UInt8(ascii: "}") where container.isObject, UInt8(ascii: "]") where !container.isObject: close()
        default: state = .broken
        }
    }

    /// `-`, digits without a leading zero, a fraction, an exponent.
    private static func isNumber(_ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        func digits() -> Int {
            let count = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
            rest.removeFirst(count)
            return count
        }
        if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        let startsWithZero = rest.first == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, whole == 1 || !startsWithZero else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            guard digits() > 0 else { return false }
        }
        if let byte = rest.first, byte | 0x20 == UInt8(ascii: "e") {
            rest.removeFirst()
            if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { rest.removeFirst() }
            guard digits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    // MARK: Texts

    private mutating func readText(_ byte: UInt8, _ isName: Bool) {
        if missingBytes > 0 {
            guard byte & 0xC0 == 0x80 else { return state = .broken }
            missingBytes -= 1
            addToName(byte, isName)
            if missingBytes == 0 { markText(isName: isName) }
            return
        }
        switch byte {
        case UInt8(ascii: "\""):
            guard highSurrogate == nil else { return state = .broken }
            if isName { state = .colon } else { endValue(at: bytes.count) }
        case UInt8(ascii: "\\"): state = .escape(isName: isName)
        case 0x20..<0x80:
            guard highSurrogate == nil else { return state = .broken }
            addToName(byte, isName)
            markText(isName: isName)
        case 0xC2...0xF4:
            guard highSurrogate == nil else { return state = .broken }
            addToName(byte, isName)
            missingBytes = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1
        default: state = .broken
        }
    }

    private mutating func readEscape(_ byte: UInt8, _ isName: Bool) {
        guard byte != UInt8(ascii: "u") else { return state = .unicode(isName: isName, digits: 0, value: 0) }
        guard highSurrogate == nil, let character = PartialJSON.escapes[byte] else { return state = .broken }
        addToName(character, isName)
        state = .string(isName: isName)
        markText(isName: isName)
    }

    private static let escapes: [UInt8: UInt8] = [
        UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F, UInt8(ascii: "b"): 0x08,
        UInt8(ascii: "f"): 0x0C, UInt8(ascii: "n"): 0x0A, UInt8(ascii: "r"): 0x0D, UInt8(ascii: "t"): 0x09,
    ]

    private mutating func readUnicode(_ byte: UInt8, _ isName: Bool, _ digits: Int, _ value: UInt32) {
        guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return state = .broken }
        let value = value << 4 | UInt32(digit)
        guard digits == 3 else { return state = .unicode(isName: isName, digits: digits + 1, value: value) }
        state = .string(isName: isName)
        switch (highSurrogate, value) {
        case (nil, 0xD800...0xDBFF): return highSurrogate = value
        case (let high?, 0xDC00...0xDFFF):
            highSurrogate = nil
            addToName(0x10000 + (high - 0xD800) << 10 + (value - 0xDC00), isName)
        case (_?, _), (nil, 0xDC00...0xDFFF): return state = .broken
        default: addToName(value, isName)
        }
        markText(isName: isName)
    }

    private mutating func addToName(_ scalar: UInt32, _ isName: Bool) {
        guard isName, let scalar = Unicode.Scalar(scalar) else { return }
        for byte in String(scalar).utf8 { addToName(byte, isName) }
    }

    private mutating func addToName(_ byte: UInt8, _ isName: Bool) {
        if isName { containers[containers.count - 1].name.append(byte) }
    }

    /// The text may be cut here.
    private mutating func markText(isName: Bool) {
        if !isName, hiddenDepth == nil { textEnd = bytes.count }
    }
}
