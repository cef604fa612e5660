import JSON

extension String {
    func hasSameScalars(as other: String) -> Bool { hasSameBytes(as: other) }
}

extension TemplateParser {
    mutating func parseExpression(withConditional: Bool = true) throws -> TemplateExpression {
        try nested { try withConditional ? $0.parseConditional() : $0.parseOr() }
    }

    private mutating func parseConditional() throws -> TemplateExpression {
        var line = current.line
        let mark = unknownMark
        var value = try parseOr()
        while skip(name: "if") {
            let condition = try parseOr()
            let otherwise = try skip(name: "else") ? nested { try $0.parseConditional() } : nil
            forgiveUnknown(since: mark)
            value = try make(
                .conditional(condition: condition, then: value, otherwise: otherwise), line: line, condition, value, otherwise)
            line = current.line
        }
        return value
    }

    private mutating func parseOr() throws -> TemplateExpression {
        var line = current.line
        var left = try parseAnd()
        while skip(name: "or") {
            let right = try parseAnd()
            left = try make(.or(left, right), line: line, left, right)
            line = current.line
        }
        return left
    }

    private mutating func parseAnd() throws -> TemplateExpression {
        var line = current.line
        var left = try parseNot()
        while skip(name: "and") {
            let right = try parseNot()
            left = try make(.and(left, right), line: line, left, right)
            line = current.line
        }
        return left
    }

    private mutating func parseNot() throws -> TemplateExpression {
        let line = current.line
        guard skip(name: "not") else { return try parseComparison() }
        let value = try nested { try $0.parseNot() }
        return try make(.not(value), line: line, value)
    }

    private mutating func parseComparison() throws -> TemplateExpression {
        let line = current.line
        let first = try parseSum()
        var rest: [(operation: ComparisonOperator, right: TemplateExpression)] = []
        while let operation = comparison() { rest.append((operation, try parseSum())) }
        if rest.isEmpty { return first }
        return try make(.compare(first, rest), line: line, children: [first] + rest.map(\.right))
    }

    private mutating func comparison() -> ComparisonOperator? {
        if case .symbol(let symbol) = current.kind, let operation = ComparisonOperator(rawValue: symbol) {
            next()
            return operation
        }
        if skip(name: "in") { return .isIn }
        if current.isName("not"), look().isName("in") {
            next()
            next()
            return .isNotIn
        }
        return nil
    }

    private mutating func parseSum() throws -> TemplateExpression {
        var line = current.line
        var left = try parseConcatenation()
        while isSymbol("+") || isSymbol("-") {
            let operation: BinaryOperator = isSymbol("+") ? .add : .subtract
            next()
            let right = try parseConcatenation()
            left = try make(.arithmetic(operation, left, right), line: line, left, right)
            line = current.line
        }
        return left
    }

    private mutating func parseConcatenation() throws -> TemplateExpression {
        let line = current.line
        var parts = [try parseProduct()]
        while skip(symbol: "~") { parts.append(try parseProduct()) }
        return parts.count == 1 ? parts[0] : try make(.concatenate(parts), line: line, children: parts)
    }

    private mutating func parseProduct() throws -> TemplateExpression {
        var line = current.line
        var left = try parsePower()
        while case .symbol(let symbol) = current.kind, ["*", "/", "//", "%"].contains(symbol),
            let operation = BinaryOperator(rawValue: symbol)
        {
            next()
            let right = try parsePower()
            left = try make(.arithmetic(operation, left, right), line: line, left, right)
            line = current.line
        }
        return left
    }

    private mutating func parsePower() throws -> TemplateExpression {
        var line = current.line
        var left = try parseUnary()
        while skip(symbol: "**") {
            let right = try parseUnary()
            left = try make(.arithmetic(.power, left, right), line: line, left, right)
            line = current.line
        }
        return left
    }

    private mutating func parseUnary(withFilter: Bool = true) throws -> TemplateExpression {
        let line = current.line
        var value: TemplateExpression
        if skip(symbol: "-") {
            let operand = try nested { try $0.parseUnary(withFilter: false) }
            value = try make(.negative(operand), line: line, operand)
        } else if skip(symbol: "+") {
            let operand = try nested { try $0.parseUnary(withFilter: false) }
            value = try make(.positive(operand), line: line, operand)
        } else {
            value = try parsePrimary()
        }
        value = try parsePostfix(value)
        return withFilter ? try parseFilterExpression(value) : value
    }

    mutating func parsePrimary(withNamespace: Bool = false) throws -> TemplateExpression {
        let token = current
        switch token.kind {
        case .name:
            next()
            switch token.text {
            case "true", "True": return try make(.literal(.bool(true)), line: token.line)
            case "false", "False": return try make(.literal(.bool(false)), line: token.line)
            case "none", "None": return try make(.literal(.none), line: token.line)
            default: break
            }
            let name = id(token.text)
            if withNamespace, skip(symbol: ".") {
                let attribute = try expect(.name, "name").text
                return try make(.namespaceMember(name, attribute), line: token.line)
            }
            read(name)
            return try make(.name(name), line: token.line)
        case .string:
            var text = ""
            while current.kind == .string { text += next().text }
            return try make(.literal(.string(text)), line: token.line)
        case .integer, .float:
            next()
            return try make(.literal(token.number), line: token.line)
        case .symbol("("):
            next()
            let value = try nested { try $0.parseTuple(isParenthesised: true) }
            try expect(symbol: ")")
            return value
        case .symbol("["):
            next()
            return try nested { try $0.parseList(line: token.line) }
        case .symbol("{"):
            next()
            return try nested { try $0.parseDict(line: token.line) }
        default:
            throw fault("unexpected '\(token.description)'")
        }
    }

    private mutating func parseList(line: Int) throws -> TemplateExpression {
        var items: [TemplateExpression] = []
        while !isSymbol("]") {
            if !items.isEmpty { try expect(symbol: ",") }
            if isSymbol("]") { break }
            items.append(try parseExpression())
        }
        next()
        return try make(.list(items), line: line, children: items)
    }

    private mutating func parseDict(line: Int) throws -> TemplateExpression {
        var pairs: [(key: TemplateExpression, value: TemplateExpression)] = []
        while !isSymbol("}") {
            if !pairs.isEmpty { try expect(symbol: ",") }
            if isSymbol("}") { break }
            let key = try parseExpression()
            try expect(symbol: ":")
            pairs.append((key, try parseExpression()))
        }
        next()
        return try make(.dict(pairs), line: line, children: pairs.flatMap { [$0.key, $0.value] })
    }

    /// Parses expressions separated by commas; a single one without a comma is itself.
    mutating func parseTuple(
        withConditional: Bool = true, isParenthesised: Bool = false,
        element: ((inout Self) throws -> TemplateExpression)? = nil
    ) throws -> TemplateExpression {
        let line = current.line
        var items: [TemplateExpression] = []
        var isTuple = false
        while true {
            if !items.isEmpty { try expect(symbol: ",") }
            if isTupleEnd { break }
            items.append(try element.map { try $0(&self) } ?? parseExpression(withConditional: withConditional))
            guard isSymbol(",") else { break }
            isTuple = true
        }
        if !isTuple {
            if let only = items.first { return only }
            guard isParenthesised else { throw fault("Expected an expression, got '\(current.description)'") }
        }
        return try make(.tuple(items), line: line, children: items)
    }

    private var isTupleEnd: Bool { current.kind == .variableEnd || current.kind == .blockEnd || isSymbol(")") }

    // MARK: after a primary

    private mutating func parsePostfix(_ value: TemplateExpression) throws -> TemplateExpression {
        var value = value
        while true {
            if isSymbol(".") || isSymbol("[") {
                value = try parseSubscript(value)
            } else if isSymbol("(") {
                value = try parseCall(value)
            } else {
                return value
            }
        }
    }

    private mutating func parseFilterExpression(_ value: TemplateExpression) throws -> TemplateExpression {
        var value = value
        while true {
            if isSymbol("|") {
                value = try parseFilters(value) ?? value
            } else if current.isName("is") {
                value = try parseTest(value)
            } else if isSymbol("(") {
                value = try parseCall(value)
            } else {
                return value
            }
        }
    }

    private mutating func parseCall(_ callee: TemplateExpression) throws -> TemplateExpression {
        let line = current.line
        let arguments = try parseArguments()
        return try make(.call(callee, arguments), line: line, children: [callee] + arguments.expressions)
    }

    private mutating func parseSubscript(_ value: TemplateExpression) throws -> TemplateExpression {
        let token = next()
        if token.kind == .symbol(".") {
            let attribute = next()
            if attribute.kind == .name { return try make(.attribute(value, attribute.text), line: token.line, value) }
            guard attribute.kind == .integer else { throw fault("expected name or number", line: attribute.line) }
            let key = try make(.literal(attribute.number), line: attribute.line)
            return try make(.item(value, key), line: token.line, value, key)
        }
        var keys: [TemplateExpression] = []
        while !isSymbol("]") {
            if !keys.isEmpty { try expect(symbol: ",") }
            if let slice = try parseSlice(of: value, line: token.line, isOnly: keys.isEmpty) { return slice }
            keys.append(try parseExpression())
            if isSymbol(":") {
                guard keys.count == 1 else { throw fault("a slice inside a tuple of subscripts is not supported") }
                return try parseSlice(of: value, start: keys[0], line: token.line)
            }
        }
        next()
        let key = keys.count == 1 ? keys[0] : try make(.tuple(keys), line: token.line, children: keys)
        return try make(.item(value, key), line: token.line, value, key)
    }

    private mutating func parseSlice(of value: TemplateExpression, line: Int, isOnly: Bool) throws -> TemplateExpression? {
        guard isSymbol(":") else { return nil }
        guard isOnly else { throw fault("a slice inside a tuple of subscripts is not supported") }
        return try parseSlice(of: value, start: nil, line: line)
    }

    /// Parses a slice from its first colon to the closing bracket.
    private mutating func parseSlice(
        of value: TemplateExpression, start: TemplateExpression?, line: Int
    ) throws -> TemplateExpression {
        func bound(_ parser: inout Self) throws -> TemplateExpression? {
            parser.isSymbol(":") || parser.isSymbol("]") || parser.isSymbol(",") ? nil : try parser.parseExpression()
        }
        try expect(symbol: ":")
        let stop = try bound(&self)
        let step = try skip(symbol: ":") ? bound(&self) : nil
        if isSymbol(",") { throw fault("a slice inside a tuple of subscripts is not supported") }
        try expect(symbol: "]")
        return try make(.slice(value, start: start, stop: stop, step: step), line: line, value, start, stop, step)
    }

    private mutating func parseArguments() throws -> TemplateArguments {
        let line = current.line
        try expect(symbol: "(")
        return try nested { parser in
            var arguments = TemplateArguments()
            var needsComma = false
            func require(_ condition: Bool) throws {
                guard condition else { throw Fault(line: line, message: "invalid syntax for function call expression") }
            }
            while !parser.isSymbol(")") {
                if needsComma {
                    try parser.expect(symbol: ",")
                    if parser.isSymbol(")") { break }
                }
                if parser.skip(symbol: "*") {
                    try require(arguments.variadic == nil && arguments.variadicKeywords == nil)
                    arguments.variadic = try parser.parseExpression()
                } else if parser.skip(symbol: "**") {
                    try require(arguments.variadicKeywords == nil)
                    arguments.variadicKeywords = try parser.parseExpression()
                } else if parser.current.kind == .name, parser.look().kind == .symbol("=") {
                    try require(arguments.variadicKeywords == nil)
                    let name = parser.next().text
                    parser.next()
                    guard !arguments.keywords.contains(where: { $0.name.hasSameScalars(as: name) }) else {
                        throw Fault(line: line, message: "keyword argument repeated: \(name)")
                    }
                    arguments.keywords.append((name, try parser.parseExpression()))
                } else {
                    try require(
                        arguments.variadic == nil && arguments.variadicKeywords == nil && arguments.keywords.isEmpty)
                    arguments.positional.append(try parser.parseExpression())
                }
                needsComma = true
            }
            try parser.expect(symbol: ")")
            return arguments
        }
    }

    /// Parses `| name(arguments)` as often as it follows; the first pipe is already gone with `startsWithName`.
    mutating func parseFilters(
        _ subject: TemplateExpression?, startsWithName: Bool = false
    ) throws -> TemplateExpression? {
        var subject = subject
        var isFirst = startsWithName
        while isFirst || skip(symbol: "|") {
            isFirst = false
            let token = try expect(.name, "name")
            let name = try parseDotted(token.text)
            let arguments = isSymbol("(") ? try parseArguments() : TemplateArguments()
            let filter = filter(named: name, line: token.line)
            let children = [subject].compactMap { $0 } + arguments.expressions
            subject = try make(.filter(subject, filter, arguments), line: token.line, children: children)
        }
        return subject
    }

    private mutating func parseDotted(_ name: String) throws -> String {
        var name = name
        while skip(symbol: ".") { name += "." + (try expect(.name, "name").text) }
        return name
    }

    private mutating func parseTest(_ subject: TemplateExpression) throws -> TemplateExpression {
        let line = next().line
        let isNegated = skip(name: "not")
        let name = try parseDotted(try expect(.name, "name").text)
        var arguments = TemplateArguments()
        if isSymbol("(") {
            arguments = try parseArguments()
        } else if startsTestArgument {
            if current.isName("is") { throw fault("You cannot chain multiple tests with is") }
            arguments.positional = [try nested { try $0.parsePostfix($0.parsePrimary()) }]
        }
        let test = try make(
            .test(subject, test(named: name, line: line), arguments), line: line,
            children: [subject] + arguments.expressions)
        return isNegated ? try make(.not(test), line: line, test) : test
    }

    private var startsTestArgument: Bool {
        switch current.kind {
        case .name: !["else", "or", "and"].contains(current.text)
        case .string, .integer, .float, .symbol("["), .symbol("{"): true
        default: false
        }
    }
}
