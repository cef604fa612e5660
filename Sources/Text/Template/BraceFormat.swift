/// Python's `str.format`, with the sandbox's rules for attributes.
enum BraceFormat {
    static func apply(
        _ format: String, _ arguments: CallArguments, isMarkup: Bool, _ interpreter: TemplateInterpreter
    ) throws -> String {
        var formatter = Formatter(arguments: arguments, isMarkup: isMarkup, interpreter: interpreter)
        return try formatter.expand(Array(format.unicodeScalars)[...], depth: 2)
    }

    private struct Formatter {
        let arguments: CallArguments
        let isMarkup: Bool
        let interpreter: TemplateInterpreter
        var nextAutomatic = 0
        var isManual = false

        mutating func expand(_ source: ArraySlice<Unicode.Scalar>, depth: Int) throws -> String {
            guard depth >= 0 else { throw TemplateFailure.type("Max string recursion exceeded") }
            var result = ""
            var at = source.startIndex
            while at < source.endIndex {
                let scalar = source[at]
                let doubled = at + 1 < source.endIndex && source[at + 1] == scalar
                if scalar == "{" || scalar == "}", doubled {
                    result.unicodeScalars.append(scalar)
                    at += 2
                } else if scalar == "}" {
                    throw TemplateFailure.type("Single '}' encountered in format string")
                } else if scalar == "{" {
                    let end = try closing(source, from: at + 1)
                    let piece = try field(source[(at + 1)..<end], depth: depth)
                    let budget = interpreter.budget
                    let total = result.utf8.count + piece.utf8.count
                    try budget.chargeText(total > budget.limits.stringBytes ? total : piece.utf8.count)
                    result += piece
                    at = end + 1
                } else {
                    result.unicodeScalars.append(scalar)
                    at += 1
                }
            }
            return result
        }

        /// The brace that closes the field that begins at `start`.
        private func closing(_ source: ArraySlice<Unicode.Scalar>, from start: Int) throws -> Int {
            var depth = 1
            var inBrackets = false
            for at in start..<source.endIndex {
                let scalar = source[at]
                if scalar == "[" { inBrackets = true }
                if scalar == "]" { inBrackets = false }
                if inBrackets { continue }
                if scalar == "{" { depth += 1 }
                if scalar == "}" { depth -= 1 }
                if depth == 0 { return at }
            }
            throw TemplateFailure.type(
                start == source.endIndex ? "Single '{' encountered in format string" : "expected '}' before end of string")
        }

        private mutating func field(_ source: ArraySlice<Unicode.Scalar>, depth: Int) throws -> String {
            var inBrackets = false
            let nameEnd =
                source.firstIndex { scalar in
                    if scalar == "[" { inBrackets = true }
                    if scalar == "]" { inBrackets = false }
                    return !inBrackets && (scalar == "!" || scalar == ":")
                } ?? source.endIndex
            var rest = source[nameEnd...]
            var conversion: Unicode.Scalar?
            if rest.first == "!" {
                rest.removeFirst()
                conversion = rest.popFirst()
                guard rest.isEmpty || rest.first == ":" else {
                    throw TemplateFailure.type("expected ':' after conversion specifier")
                }
            }
            if rest.first == ":" { rest.removeFirst() }
            var value = try resolve(source[..<nameEnd])
            let budget = interpreter.budget
            switch conversion {
            case nil: break
            case "s": value = .string(try PythonText.str(value, budget))
            case "r", "a": value = .string(try PythonText.repr(value, budget))
            default: throw TemplateFailure.type("Unknown conversion specifier")
            }
            let spec = try expand(rest, depth: depth - 1)
            let text = try FormatSpec.format(value, spec: spec, budget)
            return isMarkup && !value.isMarkup ? PythonText.escaped(text) : text
        }

        /// Looks up `name`, `name.attribute` and `name[key]`.
        private mutating func resolve(_ name: ArraySlice<Unicode.Scalar>) throws -> TemplateValue {
            let firstEnd = name.firstIndex { $0 == "." || $0 == "[" } ?? name.endIndex
            let first = PythonText.string(name[..<firstEnd])
            var value =
                try first.isEmpty || first.utf8.allSatisfy({ (48...57).contains($0) }) ? positional(first) : keyword(first)
            var rest = name[firstEnd...]
            while let mark = rest.popFirst() {
                if mark == "." {
                    let end = rest.firstIndex { $0 == "." || $0 == "[" } ?? rest.endIndex
                    guard end > rest.startIndex else { throw TemplateFailure.type("Empty attribute in format string") }
                    value = try interpreter.attribute(PythonText.string(rest[..<end]), of: value)
                    rest = rest[end...]
                } else {
                    guard mark == "[", let end = rest.firstIndex(of: "]") else {
                        throw TemplateFailure.type("Missing ']' in format string")
                    }
                    let key = PythonText.string(rest[..<end])
                    guard !key.isEmpty else { throw TemplateFailure.type("Empty attribute in format string") }
                    let isIndex = key.utf8.allSatisfy { (48...57).contains($0) }
                    value = try interpreter.item(isIndex ? Int(key).map { .int($0) } ?? .string(key) : .string(key), of: value)
                    rest = rest[(end + 1)...]
                }
            }
            return value
        }

        private mutating func positional(_ name: String) throws -> TemplateValue {
            let index: Int
            if name.isEmpty {
                guard !isManual else {
                    throw TemplateFailure.type(
                        "cannot switch from manual field specification to automatic field numbering")
                }
                index = nextAutomatic
                nextAutomatic += 1
            } else {
                guard nextAutomatic == 0 else {
                    throw TemplateFailure.type(
                        "cannot switch from automatic field numbering to manual field specification")
                }
                isManual = true
                index = Int(name) ?? Int.max
            }
            guard index < arguments.positional.count else {
                throw TemplateFailure.type("Replacement index \(index) out of range for positional args tuple")
            }
            return arguments.positional[index]
        }

        private func keyword(_ name: String) throws -> TemplateValue {
            guard let value = arguments.keyword(name) else { throw TemplateFailure.type("KeyError: \(PythonText.quoted(name))") }
            return value
        }
    }
}
