import Foundation

/// A Python number: `bool` counts as an integer. Integers have 64 bits here, so what would become a longer one is refused.
enum Number {
    case integer(Int)
    case real(Double)

    init?(_ value: TemplateValue) {
        switch value {
        case .bool(let value): self = .integer(value ? 1 : 0)
        case .int(let value): self = .integer(value)
        case .float(let value): self = .real(value)
        default: return nil
        }
    }

    var value: TemplateValue {
        switch self {
        case .integer(let value): .int(value)
        case .real(let value): .float(value)
        }
    }

    var double: Double {
        switch self {
        case .integer(let value): Double(value)
        case .real(let value): value
        }
    }

    static func == (a: Number, b: Number) -> Bool {
        switch (a, b) {
        case (.integer(let a), .integer(let b)): a == b
        case (.real(let a), .real(let b)): a == b
        case (.integer(let a), .real(let b)), (.real(let b), .integer(let a)): Int(exactly: b) == a
        }
    }

    static func < (a: Number, b: Number) -> Bool {
        switch (a, b) {
        case (.integer(let a), .integer(let b)): a < b
        case (.real(let a), .real(let b)): a < b
        case (.integer(let a), .real(let b)):
            if b >= 0x1p63 { true } else if b > -0x1p63 { a < Int(b.rounded(.up)) } else { false }
        case (.real(let a), .integer(let b)):
            if a < -0x1p63 { true } else if a < 0x1p63 { Int(a.rounded(.down)) < b } else { false }
        }
    }
}

enum BinaryOperator: String {
    case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//", modulo = "%", power = "**"
}

enum Arithmetic {
    static func apply(
        _ operation: BinaryOperator, _ left: TemplateValue, _ right: TemplateValue, _ interpreter: TemplateInterpreter
    ) throws -> TemplateValue {
        if case .int(let a) = left, case .int(let b) = right { return try integers(operation, a, b) }
        if operation == .modulo, let format = left.text {
            let formatted = try PercentFormat.apply(format, to: right, markup: left.isMarkup, interpreter)
            return left.isMarkup ? .markup(formatted) : .string(formatted)
        }
        if case .undefined(let undefined) = left { throw undefined.failure }
        if case .undefined(let undefined) = right { throw undefined.failure }
        if let a = Number(left), let b = Number(right) {
            if case .integer(let a) = a, case .integer(let b) = b { return try integers(operation, a, b) }
            return try reals(operation, a.double, b.double)
        }
        switch operation {
        case .add: if let sum = try concatenate(left, right, interpreter.budget) { return sum }
        case .multiply:
            if let count = right.index, let product = try `repeat`(left, count, interpreter.budget) { return product }
            if let count = left.index, let product = try `repeat`(right, count, interpreter.budget) { return product }
        default: break
        }
        if operation == .add, left.text != nil {
            throw TemplateFailure.type("can only concatenate str (not \"\(right.typeName)\") to str")
        }
        throw TemplateFailure.type(
            "unsupported operand type(s) for \(operation.rawValue): '\(left.typeName)' and '\(right.typeName)'")
    }

    static func negate(_ value: TemplateValue) throws -> TemplateValue {
        switch Number(value) {
        case .integer(let value):
            guard value != Int.min else { throw overflow }
            return .int(-value)
        case .real(let value): return .float(-value)
        case nil: throw badUnary("-", value)
        }
    }

    static func plus(_ value: TemplateValue) throws -> TemplateValue {
        guard let number = Number(value) else { throw badUnary("+", value) }
        return number.value
    }

    private static func badUnary(_ symbol: String, _ value: TemplateValue) -> TemplateFailure {
        if case .undefined(let undefined) = value { return undefined.failure }
        return TemplateFailure.type("bad operand type for unary \(symbol): '\(value.typeName)'")
    }

    private static let overflow = TemplateFailure(.limit, "an integer beyond 64 bits")

    private static func integers(_ operation: BinaryOperator, _ a: Int, _ b: Int) throws -> TemplateValue {
        func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> TemplateValue {
            if result.overflow { throw overflow }
            return .int(result.partialValue)
        }
        switch operation {
        case .add: return try checked(a.addingReportingOverflow(b))
        case .subtract: return try checked(a.subtractingReportingOverflow(b))
        case .multiply: return try checked(a.multipliedReportingOverflow(by: b))
        case .divide:
            guard b != 0 else { throw TemplateFailure.type("division by zero") }
            return .float(Double(a) / Double(b))
        case .floorDivide:
            guard b != 0 else { throw TemplateFailure.type("integer division or modulo by zero") }
            let result = a.dividedReportingOverflow(by: b)
            if result.overflow { throw overflow }
            let quotient = result.partialValue
            return .int(a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient)
        case .modulo:
            guard b != 0 else { throw TemplateFailure.type("integer modulo by zero") }
            let remainder = a.remainderReportingOverflow(dividingBy: b).partialValue
            return .int(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder)
        case .power:
            if b < 0 {
                guard a != 0 else { throw TemplateFailure.type("0.0 cannot be raised to a negative power") }
                return .float(pow(Double(a), Double(b)))
            }
            var (base, exponent, result) = (a, b, 1)
            while exponent > 0 {
                if exponent & 1 == 1 {
                    let product = result.multipliedReportingOverflow(by: base)
                    if product.overflow { throw overflow }
                    result = product.partialValue
                }
                exponent >>= 1
                guard exponent > 0 else { break }
                let square = base.multipliedReportingOverflow(by: base)
                if square.overflow { throw overflow }
                base = square.partialValue
            }
            return .int(result)
        }
    }

    private static func reals(_ operation: BinaryOperator, _ a: Double, _ b: Double) throws -> TemplateValue {
        switch operation {
        case .add: return .float(a + b)
        case .subtract: return .float(a - b)
        case .multiply: return .float(a * b)
        case .divide:
            guard b != 0 else { throw TemplateFailure.type("float division by zero") }
            return .float(a / b)
        case .floorDivide, .modulo:
            guard b != 0 else { throw TemplateFailure.type("float floor division or modulo by zero") }
            // As CPython's float_divmod: the remainder takes the divisor's sign, the quotient is exact.
            var remainder = fmod(a, b)
            var quotient = (a - remainder) / b
            if remainder != 0 {
                if (b < 0) != (remainder < 0) {
                    remainder += b
                    quotient -= 1
                }
            } else {
                remainder = Double(signOf: b, magnitudeOf: 0)
            }
            if operation == .modulo { return .float(remainder) }
            guard quotient != 0 else { return .float(Double(signOf: a / b, magnitudeOf: 0)) }
            let floor = quotient.rounded(.down)
            return .float(quotient - floor > 0.5 ? floor + 1 : floor)
        case .power:
            if a == 0, b < 0 { throw TemplateFailure.type("0.0 cannot be raised to a negative power") }
            if a < 0, a.isFinite, b.isFinite, b != b.rounded() { throw TemplateFailure.unsupported("complex numbers") }
            let result = pow(a, b)
            if result.isInfinite, a.isFinite, b.isFinite { throw TemplateFailure.type("Numerical result out of range") }
            return .float(result)
        }
    }

    private static func concatenate(
        _ left: TemplateValue, _ right: TemplateValue, _ budget: TemplateBudget
    ) throws -> TemplateValue? {
        switch (left, right) {
        case (.string(let a), .string(let b)):
            try budget.chargeText(a.utf8.count + b.utf8.count)
            return .string(a + b)
        case (.markup(let a), .string), (.markup(let a), .markup):
            return .markup(try budget.join([a, PythonText.escaped(right)]))
        case (.string, .markup(let b)):
            return .markup(try budget.join([PythonText.escaped(left), b]))
        case (.list(let a), .list(let b)):
            try budget.chargeElements(a.items.count + b.items.count)
            return try .list(of: a.items + b.items)
        case (.tuple(let a), .tuple(let b)), (.tuple(let a), .group(let b)), (.group(let a), .tuple(let b)),
            (.group(let a), .group(let b)):
            try budget.chargeElements(a.items.count + b.items.count)
            return try .tuple(of: a.items + b.items)
        default:
            return nil
        }
    }

    private static func `repeat`(_ value: TemplateValue, _ count: Int, _ budget: TemplateBudget) throws -> TemplateValue? {
        switch value {
        case .string(let text): return .string(try budget.repeat(text, count))
        case .markup(let text): return .markup(try budget.repeat(text, count))
        case .list(let list): return try .list(of: repeated(list.items, count, budget))
        case .tuple(let list), .group(let list): return try .tuple(of: repeated(list.items, count, budget))
        default: return nil
        }
    }

    private static func repeated(_ items: [TemplateValue], _ count: Int, _ budget: TemplateBudget) throws -> [TemplateValue] {
        guard count > 0 else { return [] }
        let (total, overflow) = items.count.multipliedReportingOverflow(by: count)
        try budget.chargeElements(overflow ? Int.max : total)
        return Array(repeatElement(items, count: count).joined())
    }
}

extension TemplateValue {
    var isMarkup: Bool { if case .markup = self { true } else { false } }
}

extension TemplateBudget {
    func join(_ parts: [String], separator: String = "") throws -> String {
        var bytes = separator.utf8.count.multipliedReportingOverflow(by: max(0, parts.count - 1)).partialValue
        for part in parts { bytes += part.utf8.count }
        try chargeText(bytes)
        return parts.joined(separator: separator)
    }

    func `repeat`(_ text: String, _ count: Int) throws -> String {
        guard count > 0, !text.isEmpty else { return "" }
        try chargeText(text.utf8.count, times: count)
        return String(repeating: text, count: count)
    }
}
