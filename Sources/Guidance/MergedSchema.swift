import JSON

/// All keywords of schemas that a value must satisfy together, except choices.
struct MergedSchema {
    struct ObjectPart {
        let source: SchemaSource
        let properties: JSONObject
        /// Schema of other properties; nil where nothing is said.
        let additional: JSONValue?
        let additionalPath: String
    }

    struct ArrayPart {
        let prefix: [SchemaSource]
        let items: SchemaSource?
    }

    /// In the order that the first schema lists them; nil where none says.
    private(set) var types: [SchemaType]?
    private(set) var values: [JSONValue]?
    /// Where the values stand, for errors.
    private(set) var valuesPath = ""
    private(set) var lower: NumberBound?
    private(set) var upper: NumberBound?
    private(set) var minLength = 0
    private(set) var maxLength: Int?
    private(set) var patterns: [(pattern: String, path: String, isFormat: Bool)] = []
    private(set) var minItems = 0
    private(set) var maxItems: Int?
    private(set) var arrays: [ArrayPart] = []
    private(set) var minProperties = 0
    private(set) var maxProperties: Int?
    private(set) var propertyCountPath = ""
    private(set) var objects: [ObjectPart] = []
    private(set) var required: [(name: String, path: String)] = []
    /// Types that keywords speak about, where no `type` does.
    private(set) var impliedTypes: [SchemaType] = []
    let limits: GuidanceLimits

    init(_ sources: [SchemaSource], limits: GuidanceLimits) throws(GuidanceError) {
        self.limits = limits
        for source in sources {
            guard let object = source.value.objectValue else { continue }
            try add(source, object)
        }
    }

    private mutating func add(_ source: SchemaSource, _ object: JSONObject) throws(GuidanceError) {
        for (keyword, value) in object where !source.done.contains(keyword) {
            try add(keyword, value, source, object)
            for type in SchemaKeywords.types[keyword] ?? [] where !impliedTypes.contains(type) { impliedTypes.append(type) }
        }
        if object["properties"] != nil || object["additionalProperties"] != nil || object["unevaluatedProperties"] != nil {
            let properties = object["properties"] ?? .object(JSONObject())
            guard let properties = properties.objectValue else {
                throw GuidanceError(.invalidSyntax, at: source.child("properties"), "must be an object of schemas")
            }
            let keyword = object["additionalProperties"] == nil ? "unevaluatedProperties" : "additionalProperties"
            objects.append(
                ObjectPart(
                    source: source, properties: properties, additional: object[keyword], additionalPath: source.child(keyword)))
        }
        try addArray(source, object)
    }

    private mutating func add(
        _ keyword: String, _ value: JSONValue, _ source: SchemaSource, _ object: JSONObject
    ) throws(GuidanceError) {
        let path = source.child(keyword)
        switch keyword {
        case "type": try addTypes(value, path, nullable: object["nullable"] == .bool(true))
        case "enum":
            guard let values = value.arrayValue else {
                throw GuidanceError(.invalidSyntax, at: path, "must be an array of values")
            }
            keep(object["nullable"] == .bool(true) && !values.contains(.null) ? values + [.null] : values, path)
        case "const": keep([value], path)
        case "minimum", "exclusiveMinimum": try addBound(value, path, isLower: true, isExclusive: keyword != "minimum", object)
        case "maximum", "exclusiveMaximum": try addBound(value, path, isLower: false, isExclusive: keyword != "maximum", object)
        case "minLength": minLength = max(minLength, try count(value, path))
        case "maxLength": maxLength = min(maxLength ?? .max, try count(value, path))
        case "minItems": minItems = max(minItems, try count(value, path))
        case "maxItems": maxItems = min(maxItems ?? .max, try count(value, path))
        case "minProperties":
            minProperties = max(minProperties, try count(value, path))
            propertyCountPath = path
        case "maxProperties":
            maxProperties = min(maxProperties ?? .max, try count(value, path))
            propertyCountPath = path
        case "pattern":
            guard let pattern = value.stringValue else { throw GuidanceError(.invalidSyntax, at: path, "must be a string") }
            patterns.append((pattern, path, false))
        case "format": try addFormat(value, path)
        case "required":
            guard let names = value.arrayValue else { throw GuidanceError(.invalidSyntax, at: path, "must be an array of names") }
            for name in names {
                guard let name = name.stringValue else {
                    throw GuidanceError(.invalidSyntax, at: path, "must be an array of names")
                }
                if !required.contains(where: { $0.name.utf8.elementsEqual(name.utf8) }) { required.append((name, path)) }
            }
        case "uniqueItems":
            guard value == .bool(false) else {
                throw GuidanceError(
                    .unsupported, at: path, "cannot be held while generating; leave it out, or give the elements with prefixItems"
                )
            }
        case "multipleOf":
            guard value.intValue == 1, types?.contains(.integer) ?? (object["type"] == .string("integer")) else {
                throw GuidanceError(
                    .unsupported, at: path, "cannot be held while generating; leave it out, or list the values with enum")
            }
        case "nullable":
            guard value.boolValue != nil else { throw GuidanceError(.invalidSyntax, at: path, "must be true or false") }
        case "unevaluatedProperties", "unevaluatedItems":
            guard value == .bool(false) || value == .bool(true) else {
                throw GuidanceError(
                    .unsupported, at: path, "is supported as true or false only; use additionalProperties or items")
            }
        case "anyOf", "oneOf", "allOf", "$ref", "properties", "additionalProperties", "items", "prefixItems", "additionalItems":
            break
        case _ where SchemaKeywords.annotations.contains(keyword) || keyword.hasPrefix("x-"): break
        default:
            let advice = SchemaKeywords.advice[keyword]
            throw GuidanceError(
                .unsupported, at: path,
                advice.map { "is not supported; \($0)" }
                    ?? "is not a keyword of JSON Schema that is supported; check its spelling or leave it out")
        }
    }

    // MARK: Values and types

    private mutating func addTypes(_ value: JSONValue, _ path: String, nullable: Bool) throws(GuidanceError) {
        var list: [SchemaType] = []
        for name in value.arrayValue ?? [value] {
            guard let type = name.stringValue.flatMap(SchemaType.init(rawValue:)) else {
                throw GuidanceError(
                    .invalidSyntax, at: path,
                    "must be one of \(SchemaType.allCases.map(\.rawValue).joined(separator: ", ")), or an array of them")
            }
            if !list.contains(type) { list.append(type) }
        }
        if nullable, !list.contains(.null) { list.append(.null) }
        guard let known = types else {
            types = list
            return
        }
        types = known.compactMap { type in
            if list.contains(type) || (type == .integer && list.contains(.number)) { return type }
            return type == .number && list.contains(.integer) ? .integer : nil
        }
    }

    private mutating func keep(_ list: [JSONValue], _ path: String) {
        valuesPath = path
        guard let known = values else {
            values = list
            return
        }
        values = known.filter { value in list.contains { MergedSchema.areEqual($0, value) } }
    }

    /// Equality of JSON Schema: 1 and 1.0 are one number.
    static func areEqual(_ a: JSONValue, _ b: JSONValue) -> Bool {
        switch (a, b) {
        case (.integer(let a), .number(let b)), (.number(let b), .integer(let a)): Double(a) == b
        case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy(areEqual)
        case (.object(let a), .object(let b)):
            a.count == b.count && a.allSatisfy { key, value in b[key].map { areEqual(value, $0) } ?? false }
        default: a == b
        }
    }

    private func count(_ value: JSONValue, _ path: String) throws(GuidanceError) -> Int {
        guard let count = value.intValue, count >= 0 else {
            throw GuidanceError(.invalidSyntax, at: path, "must be a count from 0")
        }
        guard count <= limits.repetitions else {
            throw GuidanceError(.tooLarge, at: path, "counts up to \(limits.repetitions) are supported; lower it or leave it out")
        }
        return count
    }

    private mutating func addFormat(_ value: JSONValue, _ path: String) throws(GuidanceError) {
        guard let format = value.stringValue else { throw GuidanceError(.invalidSyntax, at: path, "must be a string") }
        if StringFormats.unconstrained.contains(format) { return }
        if let range = SchemaKeywords.numberFormats[format] {
            guard let (low, high) = range, let low = DecimalNumber(low), let high = DecimalNumber(high) else { return }
            tighten(NumberBound(value: low, isExclusive: false), isLower: true)
            tighten(NumberBound(value: high, isExclusive: false), isLower: false)
        } else if let pattern = StringFormats.pattern(of: format) {
            patterns.append((pattern, path, true))
        } else {
            throw GuidanceError(
                .unsupported, at: path, "the format '\(format)' is not supported; use pattern, or one of \(StringFormats.names)")
        }
    }

    // MARK: Numbers

    private mutating func addBound(
        _ value: JSONValue, _ path: String, isLower: Bool, isExclusive: Bool, _ object: JSONObject
    ) throws(GuidanceError) {
        // Draft 4 wrote exclusiveMinimum as a flag of minimum.
        if isExclusive, value.boolValue != nil { return }
        let flag = object[isLower ? "exclusiveMinimum" : "exclusiveMaximum"]
        guard value.doubleValue?.isFinite ?? false, let number = DecimalNumber(value.serialized()) else {
            throw GuidanceError(.invalidSyntax, at: path, "must be a number of magnitude up to 1e308, not \(value.kindName)")
        }
        tighten(NumberBound(value: number, isExclusive: isExclusive || flag == .bool(true)), isLower: isLower)
    }

    private mutating func tighten(_ bound: NumberBound, isLower: Bool) {
        guard let known = isLower ? lower : upper else {
            if isLower { lower = bound } else { upper = bound }
            return
        }
        let isTighter =
            known.value == bound.value ? bound.isExclusive : isLower ? known.value < bound.value : bound.value < known.value
        if isTighter { if isLower { lower = bound } else { upper = bound } }
    }

    // MARK: Arrays

    private mutating func addArray(_ source: SchemaSource, _ object: JSONObject) throws(GuidanceError) {
        var prefix: [SchemaSource] = []
        var items: SchemaSource?
        // Before draft 2020-12, a list of positions was `items` and the rest `additionalItems`.
        let positions = object["prefixItems"] == nil && object["items"]?.arrayValue != nil ? "items" : "prefixItems"
        let rest = positions == "items" ? "additionalItems" : "items"
        if let list = object[positions] {
            guard let list = list.arrayValue else {
                throw GuidanceError(.invalidSyntax, at: source.child(positions), "must be an array of schemas")
            }
            prefix = list.enumerated().map { SchemaSource(path: source.child(positions, String($0.offset)), value: $0.element) }
        }
        if let schema = object[rest] ?? object["unevaluatedItems"] {
            items = SchemaSource(path: source.child(rest), value: schema)
        }
        if !prefix.isEmpty || items != nil { arrays.append(ArrayPart(prefix: prefix, items: items)) }
    }

    // MARK: Checking given values

    /// Whether a given value satisfies the rest of the keywords.
    ///
    /// - Throws: for keywords that are not checked beside `enum`.
    func admits(_ value: JSONValue) throws(GuidanceError) -> Bool {
        if let types, !types.contains(where: { $0.contains(value) }) { return false }
        switch value {
        case .integer, .number:
            guard let number = DecimalNumber(value.serialized()) else { return false }
            if let lower, number < lower.value || (lower.isExclusive && number == lower.value) { return false }
            if let upper, upper.value < number || (upper.isExclusive && number == upper.value) { return false }
        case .string(let text):
            let count = text.unicodeScalars.count
            if count < minLength || count > maxLength ?? .max { return false }
            if let pattern = patterns.first { throw beside(pattern.path) }
        case .array(let elements):
            if elements.count < minItems || elements.count > maxItems ?? .max { return false }
            if !arrays.isEmpty { throw beside(valuesPath) }
        case .object(let object):
            if !required.allSatisfy({ object[$0.name] != nil }) { return false }
            if object.count < minProperties || object.count > maxProperties ?? .max { return false }
            if !objects.isEmpty { throw beside(valuesPath) }
        default: break
        }
        return true
    }

    private func beside(_ path: String) -> GuidanceError {
        GuidanceError(.unsupported, at: path, "an enum or const cannot be checked against this; leave one of the two out")
    }
}
