import JSON

/// The rules of JSON that schemas are put together from, each made when first asked for.
struct JSONRules {
    var grammar: Grammar
    let whitespace: GuidanceWhitespace
    private var known: [String: Int] = [:]

    init(origin: String, whitespace: GuidanceWhitespace) {
        grammar = Grammar(origin: origin)
        self.whitespace = whitespace
    }

    private mutating func rule(_ name: String, _ make: (inout JSONRules) -> Expression) -> Int {
        if let rule = known[name] { return rule }
        let rule = grammar.addRule(name)
        known[name] = rule
        grammar.define(rule, make(&self))
        return rule
    }

    // MARK: White space

    /// Between brackets and what they hold, and after a comma.
    var gap: Expression {
        mutating get {
            guard whitespace == .flexible else { return .empty }
            return .rule(
                rule("white space") { _ in
                    .choice([
                        .empty, .text(" "),
                        .sequence([.text("\n"), .repeated(.text(" "), min: 0, max: GuidanceWhitespace.maxIndent)]),
                        .sequence([.text("\n"), .repeated(.text("\t"), min: 1, max: GuidanceWhitespace.maxIndent / 4)]),
                    ])
                })
        }
    }

    /// After a colon.
    var space: Expression { whitespace == .flexible ? .optional(.text(" ")) : .empty }

    var comma: Expression { mutating get { .sequence([.text(","), gap]) } }

    /// `open` items `close`, with the white space of a container that may also be empty.
    mutating func container(_ open: String, _ items: Expression, _ close: String, mayBeEmpty: Bool) -> Expression {
        let full = Expression.sequence([.text(open), gap, items, gap, .text(close)])
        return mayBeEmpty ? .choice([.text(open + close), full]) : full
    }

    mutating func member(key: Expression, value: Expression) -> Expression { .sequence([key, .text(":"), space, value]) }

    // MARK: Strings

    /// What stands for itself in a string.
    static let rawCharacters = ScalarSet.controls.union(ScalarSet(of: "\"\\")).inverted

    private static let hexDigit = Expression.scalars(ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66]))

    /// One character of a string, however it may be written. Escaped surrogates only come in pairs.
    static let character: Expression = {
        func set(_ text: String) -> Expression { .scalars(ScalarSet(of: text)) }
        let plain = Expression.choice([
            .sequence([set("0123456789abcefABCEF"), hexDigit, hexDigit, hexDigit]),
            .sequence([set("dD"), set("01234567"), hexDigit, hexDigit]),
        ])
        let pair = Expression.sequence([
            set("dD"), set("89abAB"), hexDigit, hexDigit, .text("\\u"), set("dD"), set("cdefCDEF"), hexDigit, hexDigit,
        ])
        return .choice([
            .scalars(rawCharacters),
            .sequence([.text("\\"), .choice([set("\"\\/bfnrt"), .sequence([.text("u"), .choice([plain, pair])])])]),
        ])
    }()

    static let quote = Expression.text("\"")

    mutating func string(min: Int = 0, max: Int? = nil) -> Expression {
        if min == 0, max == nil {
            return .rule(rule("string") { _ in .sequence([JSONRules.quote, .many(JSONRules.character), JSONRules.quote]) })
        }
        let character = Expression.rule(rule("character") { _ in JSONRules.character })
        return .sequence([Self.quote, .repeated(character, min: min, max: max), Self.quote])
    }

    /// Each character in the one way that JSON writers spell it, so that a text has one spelling.
    static func canonical(_ set: ScalarSet) -> Expression {
        var ways: [Expression] = []
        let raw = set.intersection(rawCharacters)
        if !raw.isEmpty { ways.append(.scalars(raw)) }
        for scalar in (0...0x5C as ClosedRange<UInt32>).compactMap(Unicode.Scalar.init)
        where !rawCharacters.contains(scalar) && set.contains(scalar) {
            ways.append(.text(escaped(scalar)))
        }
        return .choice(ways)
    }

    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\"": return "\\\""
        case "\\": return "\\\\"
        case "\u{8}": return "\\b"
        case "\u{C}": return "\\f"
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        default:
            let hex = String(scalar.value, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        }
    }

    /// An expression over the characters of a text, as one over their spelling inside a JSON string.
    static func canonical(_ expression: Expression) -> Expression {
        switch expression {
        case .scalars(let set): canonical(set)
        case .bytes(let bytes): .sequence(String(decoding: bytes, as: UTF8.self).unicodeScalars.map { canonical(ScalarSet($0)) })
        case .sequence(let parts): .sequence(parts.map(canonical))
        case .choice(let parts): .choice(parts.map(canonical))
        case .repeated(let inner, let min, let max): .repeated(canonical(inner), min: min, max: max)
        case .never, .rule, .joined, .automaton: expression
        }
    }

    static func literal(_ text: String) -> Expression {
        var spelled = "\""
        for scalar in text.unicodeScalars {
            if rawCharacters.contains(scalar) { spelled.unicodeScalars.append(scalar) } else { spelled += escaped(scalar) }
        }
        return .text(spelled + "\"")
    }

    // MARK: Values

    static let digit = Expression.scalars(.digits)
    static let digits = Expression.repeated(digit, min: 1, max: nil)
    static let positive = Expression.sequence([.scalars(ScalarSet("1"..."9")), .many(digit)])
    static let integer = Expression.choice([.text("0"), .sequence([.optional(.text("-")), positive])])

    static let number = Expression.sequence([
        .optional(.text("-")), .choice([.text("0"), positive]), .optional(.sequence([.text("."), digits])),
        .optional(.sequence([.scalars(ScalarSet(of: "eE")), .optional(.scalars(ScalarSet(of: "+-"))), digits])),
    ])

    mutating func anyInteger() -> Expression { .rule(rule("integer") { _ in JSONRules.integer }) }
    mutating func anyNumber() -> Expression { .rule(rule("number") { _ in JSONRules.number }) }

    static let boolean = Expression.choice([.text("true"), .text("false")])

    /// The rule of any value.
    var anyValue: Int {
        mutating get {
            if let rule = known["value"] { return rule }
            return rule("value") { rules in
                let (object, array, string, number) = (rules.anyObject, rules.anyArray, rules.string(), rules.anyNumber())
                return .choice([.rule(object), .rule(array), string, number, JSONRules.boolean, .text("null")])
            }
        }
    }

    /// The rule of any object.
    var anyObject: Int {
        mutating get {
            rule("object") { rules in
                let value = Expression.rule(rules.anyValue)
                let member = rules.member(key: rules.string(), value: value)
                return rules.container("{", rules.list(member), "}", mayBeEmpty: true)
            }
        }
    }

    /// The rule of any array.
    var anyArray: Int {
        mutating get {
            rule("array") { rules in
                let value = Expression.rule(rules.anyValue)
                return rules.container("[", rules.list(value), "]", mayBeEmpty: true)
            }
        }
    }

    private mutating func list(_ item: Expression) -> Expression {
        .sequence([item, .many(.sequence([comma, item]))])
    }

    /// A given value, in the spelling that writers use.
    mutating func literal(_ value: JSONValue) -> Expression {
        switch value {
        case .string(let text): return Self.literal(text)
        case .array(let elements):
            guard !elements.isEmpty else { return .text("[]") }
            return container("[", joined(elements.map { literal($0) }), "]", mayBeEmpty: false)
        case .object(let object):
            guard !object.isEmpty else { return .text("{}") }
            let members = object.map { member(key: Self.literal($0.key), value: literal($0.value)) }
            return container("{", joined(members), "}", mayBeEmpty: false)
        case .null, .bool, .integer, .number: return .text(value.serialized())
        }
    }

    private mutating func joined(_ items: [Expression]) -> Expression {
        let comma = comma
        return .sequence(items.enumerated().flatMap { $0.offset == 0 ? [$0.element] : [comma, $0.element] })
    }
}
