import Foundation

/// Python's format specification: `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`.
struct FormatSpec {
    var fill: Unicode.Scalar = " "
    var alignment: Unicode.Scalar?
    var sign: Unicode.Scalar = "-"
    var isAlternate = false
    var isZeroPadded = false
    var width: Int?
    var grouping: Unicode.Scalar?
    var precision: Int?
    var type: Unicode.Scalar?

    init() {}

    init(parsing text: String, _ budget: TemplateBudget) throws {
        var rest = Array(text.unicodeScalars)[...]
        func isAlignment(_ scalar: Unicode.Scalar?) -> Bool { scalar.map { "<>=^".unicodeScalars.contains($0) } ?? false }
        func number() throws -> Int? {
            var value: Int?
            while let first = rest.first, ("0"..."9").contains(first) {
                value = (value ?? 0) * 10 + Int(first.value) - 48
                guard let current = value, current <= budget.limits.stringBytes else {
                    throw TemplateFailure(.limit, "a format width or precision beyond the length of strings")
                }
                rest.removeFirst()
            }
            return value
        }
        var hasFill = false
        if isAlignment(rest.dropFirst().first), let first = rest.popFirst() {
            (fill, hasFill) = (first, true)
            alignment = rest.popFirst()
        } else if isAlignment(rest.first) {
            alignment = rest.popFirst()
        }
        if let first = rest.first, "+- ".unicodeScalars.contains(first) { sign = rest.removeFirst() }
        if rest.first == "z" { rest.removeFirst() }
        if rest.first == "#" {
            isAlternate = true
            rest.removeFirst()
        }
        if rest.first == "0" {
            isZeroPadded = true
            rest.removeFirst()
            if !hasFill { fill = "0" }
            if alignment == nil { alignment = "=" }
        }
        width = try number()
        if let first = rest.first, first == "," || first == "_" { grouping = rest.removeFirst() }
        if rest.first == "." {
            rest.removeFirst()
            guard let digits = try number() else { throw TemplateFailure.type("Format specifier missing precision") }
            precision = digits
        }
        type = rest.popFirst()
        guard rest.isEmpty else { throw TemplateFailure.type("Invalid format specifier") }
    }

    // MARK: text

    func truncate(_ text: String) -> String {
        guard let precision else { return text }
        return PythonText.string(text.unicodeScalars.prefix(precision))
    }

    /// Pads to the width; text goes left unless said otherwise.
    func pad(_ text: String, default standard: Unicode.Scalar = "<", _ budget: TemplateBudget) throws -> String {
        let missing = (width ?? 0) - text.unicodeScalars.count
        guard missing > 0 else { return text }
        let left =
            switch alignment ?? standard {
            case ">", "=": missing
            case "^": missing / 2
            default: 0
            }
        let fill = String(fill)
        return try budget.join([budget.repeat(fill, left), text, budget.repeat(fill, missing - left)])
    }

    /// Formats any value as `format(value, spec)` does.
    static func format(_ value: TemplateValue, spec text: String, _ budget: TemplateBudget) throws -> String {
        if text.isEmpty { return try PythonText.str(value, budget) }
        let spec = try FormatSpec(parsing: text, budget)
        func unknown() -> TemplateFailure {
            let code = spec.type.map(String.init) ?? ""
            return TemplateFailure.type("Unknown format code '\(code)' for object of type '\(value.typeName)'")
        }
        switch value {
        case .string(let text), .markup(let text):
            guard spec.type == nil || spec.type == "s", spec.sign == "-", !spec.isAlternate,
                spec.alignment != "=" || spec.fill == "0"
            else { throw unknown() }
            return try spec.pad(spec.truncate(text), budget)
        case .bool(let flag) where spec.type == nil:
            return try spec.format(integer: flag ? 1 : 0, budget)
        case .int, .bool:
            let integer = value.index ?? 0
            switch spec.type {
            case nil, "d", "n", "b", "o", "x", "X":
                guard spec.precision == nil else {
                    throw TemplateFailure.type("Precision not allowed in integer format specifier")
                }
                return try spec.format(integer: integer, budget)
            case "c":
                guard let scalar = UInt32(exactly: integer).flatMap(Unicode.Scalar.init) else { throw unknown() }
                return try spec.pad(String(scalar), budget)
            case "e", "E", "f", "F", "g", "G", "%": return try spec.format(float: Double(integer), budget)
            default: throw unknown()
            }
        case .float(let number):
            guard spec.type.map({ "eEfFgGn%".unicodeScalars.contains($0) }) ?? true else { throw unknown() }
            return try spec.format(float: number, budget)
        default:
            throw TemplateFailure.type("unsupported format string passed to \(value.typeName).__format__")
        }
    }

    // MARK: numbers

    func format(integer: Int, minimumDigits: Int? = nil, _ budget: TemplateBudget) throws -> String {
        let radix: Int
        let prefix: String
        switch type {
        case "b": (radix, prefix) = (2, "0b")
        case "o": (radix, prefix) = (8, "0o")
        case "x": (radix, prefix) = (16, "0x")
        case "X": (radix, prefix) = (16, "0X")
        default: (radix, prefix) = (10, "")
        }
        var digits = String(integer.magnitude, radix: radix, uppercase: type == "X")
        if let minimumDigits, digits.utf8.count < minimumDigits {
            digits = try budget.repeat("0", minimumDigits - digits.utf8.count) + digits
        }
        return try assemble(
            isNegative: integer < 0, prefix: isAlternate ? prefix : "", digits: digits, rest: "",
            groupSize: radix == 10 ? 3 : 4, budget)
    }

    func format(float: Double, _ budget: TemplateBudget) throws -> String {
        let magnitude = float.magnitude
        let isUpper = type == "E" || type == "F" || type == "G"
        var text: String
        if !float.isFinite {
            text = float.isNaN ? "nan" : "inf"
        } else {
            // C formats at most this many digits after the point without leaving the exact decimal expansion.
            let precision = min(precision ?? 6, 1 << 16)
            switch type {
            case "e", "E": text = String(format: isAlternate ? "%#.*e" : "%.*e", precision, magnitude)
            case "f", "F": text = String(format: isAlternate ? "%#.*f" : "%.*f", precision, magnitude)
            case "%": text = String(format: "%.*f", precision, magnitude * 100)
            case "g", "G", "n": text = String(format: isAlternate ? "%#.*g" : "%.*g", precision, magnitude)
            default: text = general(magnitude)
            }
        }
        if isUpper { text = text.uppercased() }
        if type == "%" { text += "%" }
        let digits = float.isFinite ? text.prefix { ("0"..."9").contains($0) } : text[...]
        return try assemble(
            isNegative: float.sign == .minus && !float.isNaN, prefix: "", digits: String(digits),
            rest: String(text[digits.endIndex...]), groupSize: 3, budget)
    }

    /// A float without a type: `repr` without a precision, else `g` that keeps at least one digit after the point.
    private func general(_ value: Double) -> String {
        guard let precision else { return PythonText.floatRepr(value) }
        let text = String(format: "%.*g", max(1, min(precision, 1 << 16)), value)
        return text.contains(".") || text.contains("e") || text.contains("n") ? text : text + ".0"
    }

    private func assemble(
        isNegative: Bool, prefix: String, digits: String, rest: String, groupSize: Int, _ budget: TemplateBudget
    ) throws -> String {
        let head = (isNegative ? "-" : sign == "-" ? "" : String(sign)) + prefix
        var digits = digits
        let isInside = alignment == "=" || (isZeroPadded && alignment == nil)
        let fill: Unicode.Scalar = isZeroPadded ? (self.fill == " " ? "0" : self.fill) : self.fill
        if isInside, fill == "0", let width {
            // Zeros count as digits, so they are grouped like them.
            let room = width - head.utf8.count - rest.utf8.count
            try budget.chargeText(max(0, room))
            if grouping == nil {
                if digits.utf8.count < room { digits = String(repeating: "0", count: room - digits.utf8.count) + digits }
            } else {
                var count = digits.utf8.count
                while count + (count - 1) / groupSize < room { count += 1 }
                digits = String(repeating: "0", count: count - digits.utf8.count) + digits
            }
        }
        let body = group(digits, groupSize) + rest
        if isInside {
            let missing = (width ?? 0) - head.utf8.count - body.utf8.count
            return head + (try budget.repeat(String(fill), missing)) + body
        }
        return try pad(head + body, default: ">", budget)
    }

    private func group(_ digits: String, _ size: Int) -> String {
        guard let grouping else { return digits }
        var result: [Character] = []
        for (at, digit) in digits.reversed().enumerated() {
            if at > 0, at % size == 0 { result.append(Character(grouping)) }
            result.append(digit)
        }
        return String(result.reversed())
    }
}
