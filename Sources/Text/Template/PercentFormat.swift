import Foundation

/// Python's `text % values`.
enum PercentFormat {
    static func apply(
        _ format: String, to values: TemplateValue, markup: Bool, _ interpreter: TemplateInterpreter
    ) throws -> String {
        var formatter = Formatter(
            source: Array(format.unicodeScalars), values: values, isMarkup: markup, interpreter: interpreter)
        return try formatter.run()
    }

    private struct Formatter {
        let source: [Unicode.Scalar]
        let values: TemplateValue
        let isMarkup: Bool
        let interpreter: TemplateInterpreter
        var at = 0
        var used = 0

        private var arguments: [TemplateValue] {
            switch values {
            case .tuple(let list), .group(let list): list.items
            default: [values]
            }
        }

        /// Python asks whether the operand can be indexed by name; lists and undefined values pass too.
        private var isMapping: Bool {
            switch values {
            case .dict, .list, .undefined, .range: true
            default: false
            }
        }

        private mutating func next() throws -> Unicode.Scalar {
            guard at < source.count else { throw TemplateFailure.type("incomplete format") }
            defer { at += 1 }
            return source[at]
        }

        private mutating func argument() throws -> TemplateValue {
            guard used < arguments.count else { throw TemplateFailure.type("not enough arguments for format string") }
            defer { used += 1 }
            return arguments[used]
        }

        mutating func run() throws -> String {
            let budget = interpreter.budget
            var result = ""
            while at < source.count {
                let scalar = source[at]
                at += 1
                guard scalar == "%" else {
                    result.unicodeScalars.append(scalar)
                    continue
                }
                let piece = try field()
                try budget.chargeText(
                    result.utf8.count + piece.utf8.count > budget.limits.stringBytes ? Int.max : piece.utf8.count)
                result += piece
            }
            if used < arguments.count, !isMapping {
                throw TemplateFailure.type("not all arguments converted during string formatting")
            }
            return result
        }

        private mutating func field() throws -> String {
            var scalar = try next()
            var value: TemplateValue?
            if scalar == "(" {
                var name = String.UnicodeScalarView()
                var depth = 1
                while true {
                    let next = try next()
                    if next == "(" { depth += 1 }
                    if next == ")" { depth -= 1 }
                    if depth == 0 { break }
                    name.append(next)
                }
                guard case .dict(let dict) = values else { throw TemplateFailure.type("format requires a mapping") }
                guard let member = dict.get(String(name)) else {
                    throw TemplateFailure.type("KeyError: \(PythonText.quoted(String(name)))")
                }
                value = member
                used = arguments.count
                scalar = try next()
            }
            var spec = FormatSpec()
            var isLeft = false
            flags: while true {
                switch scalar {
                case "-": isLeft = true
                case "+": spec.sign = "+"
                case " ": if spec.sign != "+" { spec.sign = " " }
                case "#": spec.isAlternate = true
                case "0": spec.isZeroPadded = true
                default: break flags
                }
                scalar = try next()
            }
            if scalar == "*" {
                spec.width = try interpreter.integer(argument(), default: 0)
                if let width = spec.width, width < 0 { (isLeft, spec.width) = (true, -max(width, -Int.max)) }
                scalar = try next()
            } else {
                spec.width = try digits(&scalar)
            }
            if scalar == "." {
                scalar = try next()
                if scalar == "*" {
                    spec.precision = max(0, try interpreter.integer(argument(), default: 0))
                    scalar = try next()
                } else {
                    spec.precision = try digits(&scalar) ?? 0
                }
            }
            if scalar == "h" || scalar == "l" || scalar == "L" { scalar = try next() }
            if scalar == "%" { return "%" }
            spec.alignment = isLeft ? "<" : spec.isZeroPadded && !"rsac".unicodeScalars.contains(scalar) ? "=" : ">"
            if isLeft || spec.alignment == ">" { spec.isZeroPadded = false }
            return try convert(value ?? argument(), scalar, spec)
        }

        private mutating func digits(_ scalar: inout Unicode.Scalar) throws -> Int? {
            var value: Int?
            while let digit = scalar.properties.numericType == .decimal && scalar.isASCII ? Int(scalar.value) - 48 : nil {
                value = (value ?? 0) * 10 + digit
                guard let current = value, current <= interpreter.budget.limits.stringBytes else {
                    throw TemplateFailure(.limit, "a format width or precision beyond the length of strings")
                }
                scalar = try next()
            }
            return value
        }

        private func convert(_ value: TemplateValue, _ conversion: Unicode.Scalar, _ spec: FormatSpec) throws -> String {
            let budget = interpreter.budget
            var spec = spec
            switch conversion {
            case "s", "r", "a":
                var text = try conversion == "s" ? PythonText.str(value, budget) : PythonText.repr(value, budget)
                if isMarkup, !value.isMarkup, Number(value) == nil { text = PythonText.escaped(text) }
                return try spec.pad(spec.truncate(text), budget)
            case "c":
                if let code = value.index {
                    guard let scalar = UInt32(exactly: code).flatMap(Unicode.Scalar.init) else {
                        throw TemplateFailure.type("%c arg not in range(0x110000)")
                    }
                    return try spec.pad(String(scalar), budget)
                }
                guard let text = value.text, text.unicodeScalars.count == 1 else {
                    throw TemplateFailure.type("%c requires int or char")
                }
                return try spec.pad(text, budget)
            case "d", "i", "u":
                if case .undefined(let undefined) = value { throw undefined.failure }
                guard let number = Number(value) else {
                    throw TemplateFailure.type("%\(conversion) format: a real number is required, not \(value.typeName)")
                }
                spec.type = "d"
                return try spec.format(integer: Self.truncated(number), minimumDigits: spec.precision, budget)
            case "o", "x", "X":
                guard let integer = value.index else {
                    throw TemplateFailure.type("%\(conversion) format: an integer is required, not \(value.typeName)")
                }
                spec.type = conversion
                return try spec.format(integer: integer, minimumDigits: spec.precision, budget)
            case "e", "E", "f", "F", "g", "G":
                if case .undefined(let undefined) = value { throw undefined.failure }
                guard let number = Number(value) else {
                    throw TemplateFailure.type("must be real number, not \(value.typeName)")
                }
                spec.type = conversion
                return try spec.format(float: number.double, budget)
            default:
                throw TemplateFailure.type("unsupported format character '\(conversion)'")
            }
        }

        private static func truncated(_ number: Number) throws -> Int {
            switch number {
            case .integer(let value): return value
            case .real(let value):
                guard let integer = Int(exactly: value.rounded(.towardZero)) else {
                    throw TemplateFailure(.runtime, "cannot convert float \(PythonText.floatRepr(value)) to integer")
                }
                return integer
            }
        }
    }
}
