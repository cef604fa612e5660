extension TemplateInterpreter {
    /// - Parameter subject: the text that a filter without a subject of its own applies to.
    func evaluate(
        _ expression: TemplateExpression, _ scope: TemplateScope, subject: TemplateValue? = nil
    ) throws -> TemplateValue {
        try budget.step()
        switch expression.node {
        case .literal(let literal):
            return literal.value
        case .name(let id):
            return lookup(id, scope) ?? .undefined(name: program.names[id])
        case .attribute(let object, let name):
            let object = try evaluateChild(object, scope)
            line = expression.line
            return try attribute(name, of: object)
        case .item(let object, let key):
            let object = try evaluateChild(object, scope)
            let key = try evaluateChild(key, scope)
            line = expression.line
            return try item(key, of: object)
        case .and(let left, let right):
            let left = try evaluateChild(left, scope)
            return left.isTrue ? try evaluateChild(right, scope) : left
        case .or(let left, let right):
            let left = try evaluateChild(left, scope)
            return left.isTrue ? left : try evaluateChild(right, scope)
        case .not(let operand):
            return .bool(try !evaluateChild(operand, scope).isTrue)
        default:
            try budget.enter()
            defer { budget.leave() }
            return try evaluateCompound(expression, scope, subject)
        }
    }

    private func evaluateChild(_ expression: TemplateExpression, _ scope: TemplateScope) throws -> TemplateValue {
        try budget.enter()
        defer { budget.leave() }
        return try evaluate(expression, scope)
    }

    private func evaluateCompound(
        _ expression: TemplateExpression, _ scope: TemplateScope, _ subject: TemplateValue?
    ) throws -> TemplateValue {
        switch expression.node {
        case .call:
            return try evaluateCall(expression, scope)
        case .filter(let operand, let name, let arguments):
            return try evaluateFilter(operand, name, arguments, line: expression.line, scope, subject)
        case .test(let operand, let name, let arguments):
            return try evaluateTest(operand, name, arguments, line: expression.line, scope)
        case .compare(let first, let rest):
            return .bool(try evaluateComparison(first, rest, scope))
        case .arithmetic(let operation, let left, let right):
            let left = try evaluate(left, scope)
            let right = try evaluate(right, scope)
            line = expression.line
            return try Arithmetic.apply(operation, left, right, self)
        case .concatenate(let parts):
            return .string(try budget.join(parts.map { try PythonText.str(evaluate($0, scope), budget) }))
        case .conditional(let condition, let then, let otherwise):
            return try evaluateConditional(condition, then, otherwise, line: expression.line, scope)
        case .list(let items):
            return try .list(of: items.map { try evaluate($0, scope) })
        case .tuple(let items):
            return try .tuple(of: items.map { try evaluate($0, scope) })
        case .dict(let pairs):
            let dict = TemplateDict()
            for (key, value) in pairs { try dict.set(evaluate(key, scope), evaluate(value, scope), budget) }
            return .dict(dict)
        case .slice(let object, let start, let stop, let step):
            let object = try evaluate(object, scope)
            let bounds = try [start, stop, step].map { try $0.map { try evaluate($0, scope) } ?? .none }
            line = expression.line
            return try slice(object, bounds[0], bounds[1], bounds[2])
        case .negative(let operand):
            return try Arithmetic.negate(evaluate(operand, scope))
        case .positive(let operand):
            return try Arithmetic.plus(evaluate(operand, scope))
        case .namespaceMember(let id, let name):
            return try attribute(name, of: lookup(id, scope) ?? .undefined(name: program.names[id]))
        case .literal, .name, .attribute, .item, .and, .or, .not:
            return try evaluate(expression, scope)
        }
    }

    private func evaluateConditional(
        _ condition: TemplateExpression, _ then: TemplateExpression, _ otherwise: TemplateExpression?, line: Int,
        _ scope: TemplateScope
    ) throws -> TemplateValue {
        if try evaluate(condition, scope).isTrue { return try evaluate(then, scope) }
        if let otherwise { return try evaluate(otherwise, scope) }
        return .undefined(
            hint: "the inline if-expression on line \(line) evaluated to false and no else section was defined.")
    }

    private func evaluateComparison(
        _ first: TemplateExpression, _ rest: [(operation: ComparisonOperator, right: TemplateExpression)],
        _ scope: TemplateScope
    ) throws -> Bool {
        var left = try evaluate(first, scope)
        for (operation, right) in rest {
            let right = try evaluate(right, scope)
            guard try compare(operation, left, right) else { return false }
            left = right
        }
        return true
    }

    func compare(_ operation: ComparisonOperator, _ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
        switch operation {
        case .equal: try left.isEqual(to: right, budget)
        case .notEqual: try !left.isEqual(to: right, budget)
        case .less: try left.isLess(than: right, symbol: "<", budget)
        case .greater: try right.isLess(than: left, symbol: ">", budget)
        // Not the negation of the other order: a NaN is neither.
        case .lessOrEqual: try left.isLess(than: right, symbol: "<=", budget) || left.isEqual(to: right, budget)
        case .greaterOrEqual: try right.isLess(than: left, symbol: ">=", budget) || left.isEqual(to: right, budget)
        case .isIn: try right.contains(left, budget)
        case .isNotIn: try !right.contains(left, budget)
        }
    }

    // MARK: filters and tests

    private func evaluateFilter(
        _ operand: TemplateExpression?, _ name: TemplateExpression.FilterName, _ arguments: TemplateArguments, line: Int,
        _ scope: TemplateScope, _ subject: TemplateValue?
    ) throws -> TemplateValue {
        // The first filter of a block applies to the text of the block.
        let value = try operand.map { try evaluate($0, scope, subject: subject) } ?? subject ?? .undefined(name: "subject")
        let arguments = try evaluate(arguments, scope)
        self.line = line
        switch name {
        case .known(let filter): return try apply(filter, to: value, arguments)
        case .unknown(let name): throw TemplateFailure(.runtime, "No filter named \(PythonText.quoted(name)) found.")
        }
    }

    private func evaluateTest(
        _ operand: TemplateExpression, _ name: TemplateExpression.TestName, _ arguments: TemplateArguments, line: Int,
        _ scope: TemplateScope
    ) throws -> TemplateValue {
        let value = try evaluate(operand, scope)
        let arguments = try evaluate(arguments, scope)
        self.line = line
        switch name {
        case .known(let test): return .bool(try apply(test, to: value, arguments))
        case .unknown(let name): throw TemplateFailure(.runtime, "No test named \(PythonText.quoted(name)) found.")
        }
    }

    // MARK: calls

    private func evaluate(_ arguments: TemplateArguments, _ scope: TemplateScope) throws -> CallArguments {
        if arguments.isEmpty { return CallArguments() }
        var result = CallArguments()
        for expression in arguments.positional { result.positional.append(try evaluate(expression, scope)) }
        if let variadic = arguments.variadic { result.positional += try evaluate(variadic, scope).collect(budget) }
        for (name, expression) in arguments.keywords { result.keywords.append((name, try evaluate(expression, scope))) }
        if let variadic = arguments.variadicKeywords {
            guard case .dict(let dict) = try evaluate(variadic, scope) else {
                throw TemplateFailure.type("argument after ** must be a mapping")
            }
            for (key, value) in zip(dict.keys, dict.values) {
                guard let name = key.text else { throw TemplateFailure.type("keywords must be strings") }
                guard result.keyword(name) == nil else {
                    throw TemplateFailure.type("got multiple values for keyword argument '\(name)'")
                }
                result.keywords.append((name, value))
            }
        }
        return result
    }

    /// - Parameter caller: the body of a `{% call %}` block, passed as a keyword.
    func evaluateCall(
        _ expression: TemplateExpression, _ scope: TemplateScope, caller: TemplateValue? = nil
    ) throws -> TemplateValue {
        guard case .call(let callee, let arguments) = expression.node else { return try evaluate(expression, scope) }
        var receiver: TemplateValue?
        var method: BuiltinMethod?
        var function: TemplateValue?
        if case .attribute(let object, let name) = callee.node {
            let object = try evaluate(object, scope)
            line = expression.line
            receiver = object
            method = BuiltinMethod(name, of: object)
            if method == nil { function = try attribute(name, of: object) }
        } else {
            function = try evaluate(callee, scope)
        }
        var values = try evaluate(arguments, scope)
        if let caller { values.keywords.append(("caller", caller)) }
        line = expression.line
        if let receiver, let method { return try call(method, on: receiver, values) }
        return try call(function ?? .none, values)
    }

    func call(_ function: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        switch function {
        case .undefined(let undefined): throw undefined.failure
        case .object(let object): return try object.call(arguments, self)
        default: throw TemplateFailure.type("'\(function.typeName)' object is not callable")
        }
    }
}

extension TemplateLiteral {
    var value: TemplateValue {
        switch self {
        case .none: .none
        case .bool(let value): .bool(value)
        case .int(let value): .int(value)
        case .float(let value): .float(value)
        case .string(let value): .string(value)
        }
    }
}

/// The arguments of a call.
struct CallArguments {
    var positional: [TemplateValue] = []
    var keywords: [(name: String, value: TemplateValue)] = []

    func keyword(_ name: String) -> TemplateValue? { keywords.first { $0.name.hasSameScalars(as: name) }?.value }

    /// Sorts the arguments to parameters as Python does.
    /// - Parameters:
    ///   - parameters: names in order.
    ///   - required: how many of the first ones must be given.
    ///   - positionalOnly: whether keywords are refused, as C functions do.
    /// - Returns: one value per parameter, nil where none was given.
    func bind(
        _ function: String, _ parameters: [String], required: Int = 0, positionalOnly: Bool = false
    ) throws -> [TemplateValue?] {
        guard positional.count <= parameters.count else {
            throw TemplateFailure.type("\(function)() takes at most \(parameters.count) arguments (\(positional.count) given)")
        }
        var values: [TemplateValue?] = positional + Array(repeating: nil, count: parameters.count - positional.count)
        for (name, value) in keywords {
            guard !positionalOnly, let at = parameters.firstIndex(where: { $0.hasSameScalars(as: name) }) else {
                throw TemplateFailure.type("\(function)() got an unexpected keyword argument '\(name)'")
            }
            guard values[at] == nil else {
                throw TemplateFailure.type("\(function)() got multiple values for argument '\(name)'")
            }
            values[at] = value
        }
        for at in 0..<required where values[at] == nil {
            throw TemplateFailure.type("\(function)() missing required argument '\(parameters[at])'")
        }
        return values
    }
}
