import JSON

extension ExtractionSchema {
    /// The form as a JSON Schema (draft 2020-12), on one line.
    ///
    /// Every member of an object is required, in the order of its properties, and no other is allowed; one that may be missing is
    /// `null`, so that the model decides about each. A type that contains itself is a `$ref` into `$defs`.
    public var jsonSchema: String {
        var renderer = SchemaRenderer()
        renderer.findRecursion(self)
        var root = renderer.render(self)
        if !renderer.definitions.isEmpty { root["$defs"] = .object(renderer.definitions) }
        return JSONValue.object(root).serialized()
    }
}

private struct SchemaRenderer {
    /// Types that contain themselves, with the names of their definitions.
    private var names: [ObjectIdentifier: String] = [:]
    private(set) var definitions = JSONObject()
    /// Types being visited, outermost first.
    private var path: [ObjectIdentifier] = []
    private var visited: Set<ObjectIdentifier> = []

    mutating func findRecursion(_ schema: ExtractionSchema) {
        switch schema.form {
        case .boolean, .integer, .real, .text, .choices: break
        case .list(let content, _), .dictionary(let content, _), .optional(let content): findRecursion(content)
        case .object(let object):
            if path.contains(object.type) {
                guard names[object.type] == nil else { return }
                let taken = names.values.filter { $0 == object.name || $0.hasPrefix(object.name + "-") }.count
                names[object.type] = taken == 0 ? object.name : "\(object.name)-\(taken + 1)"
            } else if visited.insert(object.type).inserted {
                path.append(object.type)
                for property in object.properties { findRecursion(property.schema) }
                path.removeLast()
            }
        }
    }

    mutating func render(_ schema: ExtractionSchema) -> JSONObject {
        var result = JSONObject()
        if let description = schema.description { result["description"] = .string(description) }
        switch schema.form {
        case .boolean: result["type"] = "boolean"
        case .integer(let limits):
            result["type"] = "integer"
            result["minimum"] = limits.lowest.map { .integer($0) }
            result["maximum"] = limits.highest.map { .integer($0) }
        case .real(let limits):
            result["type"] = "number"
            result["minimum"] = limits.lowest.map(number)
            result["maximum"] = limits.highest.map(number)
        case .text(let text):
            result["type"] = "string"
            result["pattern"] = text.pattern.map { .string($0) }
            result["minLength"] = text.count.lowest.map { .integer(max(0, $0)) }
            result["maxLength"] = text.count.highest.map { .integer(max(0, $0)) }
        case .choices(let choices):
            result["enum"] = .array(
                choices.map { choice in
                    switch choice {
                    case .text(let text): .string(text)
                    case .integer(let number): .integer(number)
                    }
                })
        case .list(let element, let count):
            result["type"] = "array"
            result["items"] = .object(render(element))
            result["minItems"] = count.lowest.map { .integer(max(0, $0)) }
            result["maxItems"] = count.highest.map { .integer(max(0, $0)) }
        case .dictionary(let value, let count):
            result["type"] = "object"
            result["additionalProperties"] = .object(render(value))
            result["minProperties"] = count.lowest.map { .integer(max(0, $0)) }
            result["maxProperties"] = count.highest.map { .integer(max(0, $0)) }
        case .optional(var wrapped):
            // Said once, beside the alternatives.
            if wrapped.description == schema.description { wrapped.description = nil }
            result["anyOf"] = [.object(render(wrapped)), .object(["type": "null"])]
        case .object(let object):
            guard let name = names[object.type] else {
                members(of: object, into: &result)
                break
            }
            result["$ref"] = .string("#/$defs/" + name)
            if definitions[name] == nil {
                // Holds the place, so that the type met again inside itself is not rendered again.
                definitions[name] = .object(JSONObject())
                var definition = JSONObject()
                members(of: object, into: &definition)
                definitions[name] = .object(definition)
            }
        }
        return result
    }

    private mutating func members(of object: ExtractionSchema.Object, into result: inout JSONObject) {
        var properties = JSONObject()
        for property in object.properties { properties[property.name] = .object(render(property.schema)) }
        result["type"] = "object"
        result["properties"] = .object(properties)
        result["required"] = .array(object.properties.map { .string($0.name) })
        result["additionalProperties"] = false
    }

    private func number(_ value: Double) -> JSONValue { Int(exactly: value).map { .integer($0) } ?? .number(value) }
}
