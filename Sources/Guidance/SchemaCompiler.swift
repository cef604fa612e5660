import JSON

/// Turns a JSON Schema (draft 2020-12, and the usual spellings of older ones) into rules.
///
/// Every text that the rules allow is valid under the schema; a keyword that cannot be held is an error. Where the schema leaves a choice
/// that only harms generation, the rules take the usual one:
/// - properties come in the order of the schema; optional ones may be left out;
/// - an object with `properties` has no others unless `additionalProperties` asks for them;
/// - an array with `prefixItems` ends after them unless `items` asks for more;
/// - a schema without `type` is of the types that its keywords speak about;
/// - `oneOf` is `anyOf`: that only one alternative matches is not checked.
struct SchemaCompiler {
    private let root: JSONValue
    private let limits: GuidanceLimits
    private var json: JSONRules
    /// Rules by the sources that a value must satisfy.
    private var rules: [String: Int] = [:]
    private var depth = 0

    init(text: String, whitespace: GuidanceWhitespace, limits: GuidanceLimits) throws(GuidanceError) {
        guard text.utf8.count <= limits.textBytes else {
            throw GuidanceError(.tooLarge, at: "#", "the schema is longer than \(limits.textBytes) bytes")
        }
        do {
            root = try JSONValue(parsing: text, source: "schema")
        } catch {
            throw GuidanceError(.invalidSyntax, at: "#", "the schema is not JSON: \(error)")
        }
        self.limits = limits
        json = JSONRules(origin: "#", whitespace: whitespace)
    }

    mutating func compile() throws(GuidanceError) -> Grammar {
        json.grammar.root = try rule([SchemaSource(path: "#", value: root)])
        return json.grammar
    }

    // MARK: Rules

    /// The rule of the values that satisfy all of `sources`.
    private mutating func rule(_ sources: [SchemaSource]) throws(GuidanceError) -> Int {
        let key = sources.map(\.key).joined(separator: " ")
        if let rule = rules[key] { return rule }
        guard rules.count < limits.repetitions else {
            throw GuidanceError(
                .tooLarge, at: sources.first?.path ?? "#",
                "the schema has more than \(limits.repetitions) combinations of its parts; simplify anyOf under allOf")
        }
        let rule = json.grammar.addRule(sources.first?.path ?? "#")
        rules[key] = rule
        depth += 1
        defer { depth -= 1 }
        guard depth <= limits.nesting else {
            throw GuidanceError(
                .tooLarge, at: sources.first?.path ?? "#", "schemas are nested deeper than \(limits.nesting)")
        }
        json.grammar.define(rule, try expression(sources))
        return rule
    }

    private mutating func expression(_ sources: [SchemaSource]) throws(GuidanceError) -> Expression {
        guard var flat = try flattened(sources) else { return .never }
        // One choice at a time: each alternative joins the other sources.
        for (index, source) in flat.enumerated() {
            for keyword in ["anyOf", "oneOf"] where !source.done.contains(keyword) {
                guard let list = source.value[keyword] else { continue }
                guard let list = list.arrayValue, !list.isEmpty else {
                    throw GuidanceError(
                        .invalidSyntax, at: source.child(keyword), "must be an array of schemas that is not empty")
                }
                flat[index].done.insert(keyword)
                // A source that said nothing but the choice is spent.
                let others = flat.filter { !isSpent($0) }
                var ways: [Expression] = []
                var contradiction: GuidanceError?
                for (branch, schema) in list.enumerated() {
                    let alternative = SchemaSource(path: source.child(keyword, String(branch)), value: schema)
                    do {
                        ways.append(.rule(try rule(others + [alternative])))
                    } catch  where error.kind == .unsatisfiable && !others.isEmpty {
                        // This alternative contradicts what stands beside the choice; another may not.
                        contradiction = error
                    }
                }
                if let contradiction, ways.isEmpty { throw contradiction }
                return .choice(ways)
            }
        }
        if flat.allSatisfy(isSpent) { return .rule(json.anyValue) }
        return try value(of: MergedSchema(flat, limits: limits), path: sources.first?.path ?? "#")
    }

    /// Whether a schema says nothing more about values.
    private func isSpent(_ source: SchemaSource) -> Bool {
        guard let object = source.value.objectValue else { return true }
        return object.keys.allSatisfy {
            source.done.contains($0) || SchemaKeywords.annotations.contains($0) || $0.hasPrefix("x-")
        }
    }

    /// The sources with what `$ref` and `allOf` add; nil when one of them is `false`.
    private func flattened(_ sources: [SchemaSource]) throws(GuidanceError) -> [SchemaSource]? {
        var result: [SchemaSource] = []
        var seen: Set<String> = []
        var isPossible = true
        func add(_ source: SchemaSource, _ references: [String]) throws(GuidanceError) {
            switch source.value {
            case .bool(let isAllowed):
                if !isAllowed { isPossible = false }
                return
            case .object: break
            default:
                throw GuidanceError(
                    .invalidSyntax, at: source.path, "a schema is an object, true or false, not \(source.value.kindName)")
            }
            if references.contains(source.path) {
                throw GuidanceError(
                    .unsatisfiable, at: source.path,
                    "refers to itself and says nothing else; let it refer to a schema with a type")
            }
            guard references.count <= limits.nesting else {
                throw GuidanceError(.tooLarge, at: source.path, "references and allOf are nested deeper than \(limits.nesting)")
            }
            var source = source
            if let reference = source.value["$ref"], source.done.insert("$ref").inserted {
                try add(try resolve(reference, source), references + [source.path])
            }
            if let list = source.value["allOf"], source.done.insert("allOf").inserted {
                guard let list = list.arrayValue else {
                    throw GuidanceError(.invalidSyntax, at: source.child("allOf"), "must be an array of schemas")
                }
                for (index, schema) in list.enumerated() {
                    try add(
                        SchemaSource(path: source.child("allOf", String(index)), value: schema), references + [source.path])
                }
            }
            if seen.insert(source.key).inserted { result.append(source) }
        }
        for source in sources { try add(source, []) }
        return isPossible ? result : nil
    }

    /// The schema that a reference inside the document names.
    private func resolve(_ reference: JSONValue, _ source: SchemaSource) throws(GuidanceError) -> SchemaSource {
        let path = source.child("$ref")
        guard let text = reference.stringValue else { throw GuidanceError(.invalidSyntax, at: path, "must be a string") }
        guard text == "#" || text.hasPrefix("#/") else {
            throw GuidanceError(
                .unsupported, at: path, "'\(text)' is outside the document; copy that schema into $defs and refer to #/$defs/NAME"
            )
        }
        var value = root
        for part in text.dropFirst(2).split(separator: "/", omittingEmptySubsequences: false) where text != "#" {
            let name = Self.unescaped(part)
            guard let next = value[name] ?? Int(name).flatMap({ value[$0] }) else {
                throw GuidanceError(.invalidSyntax, at: path, "'\(text)' leads nowhere: there is no '\(name)'")
            }
            value = next
        }
        return SchemaSource(path: text, value: value)
    }

    /// A part of a JSON pointer in a URI fragment: percent escapes, then `~1` and `~0`.
    private static func unescaped(_ part: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = part.utf8[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == UInt8(ascii: "%"), digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self).replacing("~1", with: "/").replacing("~0", with: "~")
    }

    // MARK: Values

    private mutating func value(of schema: MergedSchema, path: String) throws(GuidanceError) -> Expression {
        if let values = schema.values {
            var ways: [Expression] = []
            for value in values where try schema.admits(value) { ways.append(json.literal(value)) }
            guard !ways.isEmpty else {
                throw GuidanceError(.unsatisfiable, at: schema.valuesPath, "none of the values satisfies the other keywords")
            }
            return .choice(ways)
        }
        var types = schema.types ?? schema.impliedTypes
        if schema.types == nil {
            if !schema.patterns.isEmpty, !types.contains(.string) { types.append(.string) }
            if schema.lower != nil || schema.upper != nil, !types.contains(.number) { types.append(.number) }
            if types.isEmpty { return .rule(json.anyValue) }
        }
        if types.contains(.number) { types.removeAll { $0 == .integer } }
        guard !types.isEmpty else {
            throw GuidanceError(.unsatisfiable, at: path, "no type satisfies all of its schemas")
        }
        var ways: [Expression] = []
        for type in types {
            switch type {
            case .null: ways.append(.text("null"))
            case .boolean: ways.append(JSONRules.boolean)
            case .string: ways.append(try string(schema, path))
            case .integer, .number: ways.append(try number(schema, isInteger: type == .integer, path))
            case .array: ways.append(try array(schema, path))
            case .object: ways.append(try object(schema, path))
            }
        }
        return .choice(ways)
    }

    private mutating func string(_ schema: MergedSchema, _ path: String) throws(GuidanceError) -> Expression {
        if let maxLength = schema.maxLength, maxLength < schema.minLength {
            throw GuidanceError(.unsatisfiable, at: path, "minLength is above maxLength")
        }
        guard !schema.patterns.isEmpty else { return json.string(min: schema.minLength, max: schema.maxLength) }
        var content: Expression?
        for (pattern, path, isFormat) in schema.patterns {
            let anchored = try RegexParser.parse(pattern, origin: path, limits: limits)
            let next = JSONRules.canonical(isFormat ? anchored.wholeMatch : anchored.found)
            content = try content?.intersection(next, origin: path, limits: limits) ?? next
        }
        if schema.minLength > 0 || schema.maxLength != nil {
            let lengths = Expression.repeated(JSONRules.canonical(.all), min: schema.minLength, max: schema.maxLength)
            content = try content?.intersection(lengths, origin: path, limits: limits)
        }
        return .sequence([JSONRules.quote, content ?? .empty, JSONRules.quote])
    }

    private mutating func number(_ schema: MergedSchema, isInteger: Bool, _ path: String) throws(GuidanceError) -> Expression {
        let lower = schema.lower.map { BoundedNumbers.above($0, isInteger: isInteger) }
        let upper = schema.upper.map { BoundedNumbers.below($0, isInteger: isInteger) }
        switch (lower, upper) {
        case (nil, nil): return isInteger ? json.anyInteger() : json.anyNumber()
        case (let bound?, nil), (nil, let bound?): return bound
        case (let lower?, let upper?): return try lower.intersection(upper, origin: path, limits: limits)
        }
    }

    // MARK: Arrays

    private mutating func array(_ schema: MergedSchema, _ path: String) throws(GuidanceError) -> Expression {
        let prefixCount = schema.arrays.map(\.prefix.count).max() ?? 0
        // The schemas of the element at a place: those of its place where there are any, else the general one.
        func sources(at place: Int) -> [SchemaSource] {
            schema.arrays.compactMap { part in part.prefix.indices.contains(place) ? part.prefix[place] : part.items }
        }
        let isClosed = prefixCount > 0 && schema.arrays.allSatisfy { $0.items == nil }
        let limit = min(schema.maxItems ?? .max, isClosed ? prefixCount : .max)
        guard schema.minItems <= limit else {
            throw GuidanceError(
                .unsatisfiable, at: path,
                isClosed
                    ? "minItems is above the number of prefixItems; describe the other elements with items"
                    : "minItems is above maxItems")
        }
        let comma = json.comma
        // From the end: the elements after the places, then each place with what follows it.
        var tail: Expression = .empty
        let restMax = limit == .max ? nil : max(0, limit - prefixCount)
        if restMax != 0, !isClosed {
            let element = Expression.rule(try rule(sources(at: prefixCount)))
            let min = max(0, schema.minItems - prefixCount)
            let next = Expression.sequence([comma, element])
            if prefixCount > 0 {
                tail = .repeated(next, min: min, max: restMax)
            } else {
                let list = Expression.sequence([
                    element, .repeated(next, min: max(0, min - 1), max: restMax.map { $0 - 1 }),
                ])
                return json.container("[", list, "]", mayBeEmpty: min == 0)
            }
        }
        for place in (0..<min(prefixCount, limit)).reversed() {
            let element = Expression.rule(try rule(sources(at: place)))
            let here = Expression.sequence(place == 0 ? [element, tail] : [comma, element, tail])
            tail = place < schema.minItems ? here : place == 0 ? here : .optional(here)
        }
        guard min(prefixCount, limit) > 0 else { return .text("[]") }
        return json.container("[", tail, "]", mayBeEmpty: schema.minItems == 0)
    }

    // MARK: Objects

    private mutating func object(_ schema: MergedSchema, _ path: String) throws(GuidanceError) -> Expression {
        var names: [String] = []
        var known = JSONObject()
        for name in schema.objects.flatMap(\.properties.keys) + schema.required.map(\.name) where known[name] == nil {
            known[name] = .null
            names.append(name)
        }
        /// What the parts say of a property: its own schema where one names it, else that of other properties.
        func sources(_ name: String) -> [SchemaSource] {
            schema.objects.compactMap { part in
                if let value = part.properties[name] {
                    return SchemaSource(path: part.source.child("properties", name), value: value)
                }
                return part.additional.map { SchemaSource(path: part.additionalPath, value: $0) }
            }
        }
        var items: [Expression.Item] = []
        var requiredCount = 0
        for name in names {
            let parts = sources(name)
            let isRequired = schema.required.contains { $0.name.utf8.elementsEqual(name.utf8) }
            let isForbidden = parts.contains { $0.value == .bool(false) }
            if isRequired {
                requiredCount += 1
                if isForbidden, let required = schema.required.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) {
                    throw GuidanceError(
                        .unsatisfiable, at: required.path,
                        "'\(name)' is required and forbidden; add it to properties or take it out of required")
                }
            }
            if isForbidden { continue }
            let value = Expression.rule(try rule(parts))
            items.append(
                Expression.Item(
                    expression: json.member(key: JSONRules.literal(name), value: value), isOptional: !isRequired))
        }
        let additional = schema.objects.compactMap { part in
            part.additional.map { SchemaSource(path: part.additionalPath, value: $0) }
        }
        let isOpen =
            additional.isEmpty ? names.isEmpty : !additional.contains { $0.value == .bool(false) }
        let (low, high) = try propertyCounts(schema, items: items.count, required: requiredCount, isOpen: isOpen)
        var rest: Expression?
        if isOpen, high != 0 {
            let value = Expression.rule(additional.isEmpty ? json.anyValue : try rule(additional))
            rest = json.member(key: try otherKey(than: names, path), value: value)
        }
        guard !items.isEmpty || rest != nil else { return .text("{}") }
        let members = Expression.joined(items, separator: json.comma, rest: rest, restMin: low, restMax: high)
        let mayBeEmpty = requiredCount == 0 && low == 0
        guard mayBeEmpty else { return json.container("{", members, "}", mayBeEmpty: false) }
        // The items may all be left out; a container's full form with nothing in it is `{}` with white space.
        return json.container("{", members, "}", mayBeEmpty: true)
    }

    /// How many other properties there may be.
    private func propertyCounts(
        _ schema: MergedSchema, items: Int, required: Int, isOpen: Bool
    ) throws(GuidanceError) -> (min: Int, max: Int?) {
        let optional = items - required
        let path = schema.propertyCountPath
        if let most = schema.maxProperties, most < max(required, schema.minProperties) {
            throw GuidanceError(.unsatisfiable, at: path, "fewer properties than are required")
        }
        let isCounted = schema.minProperties > required || (schema.maxProperties.map { $0 < items || isOpen } ?? false)
        guard isCounted else { return (0, nil) }
        guard optional == 0 else {
            throw GuidanceError(
                .unsupported, at: path,
                "counts cannot be held beside optional properties; make them required or leave the count out")
        }
        guard isOpen else { throw GuidanceError(.unsatisfiable, at: path, "there are only \(items) properties") }
        return (max(0, schema.minProperties - items), schema.maxProperties.map { $0 - items })
    }

    /// A key that is none of `names`. One spelling of each text, so that none comes back in disguise.
    private mutating func otherKey(than names: [String], _ path: String) throws(GuidanceError) -> Expression {
        guard !names.isEmpty else { return json.string() }
        let any = Expression.many(JSONRules.canonical(.all))
        let taken = Expression.choice(names.map { name in JSONRules.canonical(.text(name)) })
        let other = try any.subtracting(taken, origin: path, limits: limits)
        return .sequence([JSONRules.quote, other, JSONRules.quote])
    }
}
