/// jinja2's builtin tests, under all their names.
enum TemplateTest: String, Sendable {
    case odd, even, divisibleby, defined, undefined, filter, test, none, boolean, `false`, `true`, integer, float, lower, upper
    case string, mapping, number, sequence, iterable, callable, sameas, escaped
    case isIn = "in"
    case equal = "eq", equalSymbol = "==", equalTo = "equalto"
    case notEqual = "ne", notEqualSymbol = "!="
    case greater = "gt", greaterSymbol = ">", greaterThan = "greaterthan"
    case greaterOrEqual = "ge", greaterOrEqualSymbol = ">="
    case less = "lt", lessSymbol = "<", lessThan = "lessthan"
    case lessOrEqual = "le", lessOrEqualSymbol = "<="

    fileprivate var comparison: ComparisonOperator? {
        switch self {
        case .isIn: .isIn
        case .equal, .equalSymbol, .equalTo: .equal
        case .notEqual, .notEqualSymbol: .notEqual
        case .greater, .greaterSymbol, .greaterThan: .greater
        case .greaterOrEqual, .greaterOrEqualSymbol: .greaterOrEqual
        case .less, .lessSymbol, .lessThan: .less
        case .lessOrEqual, .lessOrEqualSymbol: .lessOrEqual
        default: nil
        }
    }
}

extension TemplateInterpreter {
    func apply(_ test: TemplateTest, to value: TemplateValue, _ arguments: CallArguments) throws -> Bool {
        if let comparison = test.comparison {
            let parameter = test == .isIn ? "seq" : "other"
            let other = try arguments.bind(test.rawValue, [parameter], required: 1)[0] ?? .none
            return try compare(comparison, value, other)
        }
        switch test {
        case .divisibleby:
            let divisor = try arguments.bind("divisibleby", ["num"], required: 1)[0] ?? .none
            return try Arithmetic.apply(.modulo, value, divisor, self).isEqual(to: .int(0), budget)
        case .sameas:
            return value.isSame(as: try arguments.bind("sameas", ["other"], required: 1)[0] ?? .none)
        default:
            _ = try arguments.bind(test.rawValue, [])
            return try applyUnary(test, to: value)
        }
    }

    private func applyUnary(_ test: TemplateTest, to value: TemplateValue) throws -> Bool {
        switch test {
        case .odd: return try Arithmetic.apply(.modulo, value, .int(2), self).isEqual(to: .int(1), budget)
        case .even: return try Arithmetic.apply(.modulo, value, .int(2), self).isEqual(to: .int(0), budget)
        case .defined: return !value.isUndefined
        case .undefined: return value.isUndefined
        case .filter:
            try value.checkHashable(budget)
            return value.text.flatMap { TemplateFilter(rawValue: $0) } != nil
        case .test:
            try value.checkHashable(budget)
            return value.text.flatMap { TemplateTest(rawValue: $0) } != nil
        case .none: return value.isNone
        case .boolean: if case .bool = value { return true } else { return false }
        case .true: if case .bool(true) = value { return true } else { return false }
        case .false: if case .bool(false) = value { return true } else { return false }
        case .integer: if case .int = value { return true } else { return false }
        case .float: if case .float = value { return true } else { return false }
        case .number: return Number(value) != nil
        case .string: return value.text != nil
        case .mapping: if case .dict = value { return true } else { return false }
        case .lower, .upper:
            let text = try PythonText.str(value, budget)
            try budget.chargeText(text.utf8.count)
            return Self.classify(text, test == .lower ? .islower : .isupper)
        case .sequence:
            switch value {
            case .undefined, .string, .markup, .list, .tuple, .group, .dict, .range: return true
            default: return false
            }
        case .iterable: return value.isIterable
        case .callable:
            switch value {
            case .undefined: return true
            case .object(let object): return object.isCallable
            default: return false
            }
        default: return value.isMarkup
        }
    }
}
