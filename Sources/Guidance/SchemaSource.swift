import JSON

/// A schema and where it stands. A value must satisfy several of them at once: its own, those it refers to and those of `allOf`.
struct SchemaSource {
    /// JSON pointer of the schema, as a URI fragment.
    let path: String
    let value: JSONValue
    /// Keywords that were dealt with by adding what they mean.
    var done: Set<String> = []

    /// What makes two sources the same.
    var key: String { done.isEmpty ? path : path + "!" + done.sorted().joined(separator: "!") }

    func child(_ keyword: String, _ rest: String...) -> String {
        ([path, keyword] + rest).map { $0 }.enumerated().map { index, part in
            index == 0 ? part : part.replacing("~", with: "~0").replacing("/", with: "~1")
        }.joined(separator: "/")
    }
}

/// The kinds of JSON values.
enum SchemaType: String, CaseIterable {
    case object, array, string, integer, number, boolean, null

    func contains(_ value: JSONValue) -> Bool {
        switch (self, value) {
        case (.object, .object), (.array, .array), (.string, .string), (.boolean, .bool), (.null, .null): true
        case (.number, .integer), (.number, .number): true
        case (.integer, .integer): true
        case (.integer, .number(let number)): number == number.rounded()
        default: false
        }
    }
}

/// What keywords mean for generation.
enum SchemaKeywords {
    /// Say something about a schema and nothing about values.
    static let annotations: Set<String> = [
        "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$schema", "$id", "id",
        "$comment",
        "$defs", "definitions", "$anchor", "$vocabulary", "discriminator", "externalDocs", "xml", "propertyOrdering",
        "contentMediaType", "contentEncoding", "contentSchema", "$recursiveAnchor", "$dynamicAnchor",
    ]

    static let supported: Set<String> = [
        "type", "nullable", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "properties", "required", "additionalProperties",
        "minProperties", "maxProperties", "items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength", "pattern",
        "format",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "multipleOf", "additionalItems",
        "unevaluatedProperties", "unevaluatedItems",
    ]

    /// What to do about keywords that no mask can hold.
    static let advice: [String: String] = [
        "not": "say which values are allowed instead",
        "if": "write the cases as anyOf", "then": "write the cases as anyOf", "else": "write the cases as anyOf",
        "contains": "describe the elements with items or prefixItems", "minContains": "describe the elements with items",
        "maxContains": "describe the elements with items",
        "patternProperties": "name the properties, or describe all of them with additionalProperties",
        "propertyNames": "name the properties, or use an enum of names as properties",
        "dependentRequired": "write the cases as anyOf", "dependentSchemas": "write the cases as anyOf",
        "dependencies": "write the cases as anyOf", "$dynamicRef": "use $ref", "$recursiveRef": "use $ref",
    ]

    /// The kind of value that a keyword is about.
    static let types: [String: [SchemaType]] = [
        "properties": [.object], "required": [.object], "additionalProperties": [.object], "minProperties": [.object],
        "maxProperties": [.object], "items": [.array], "prefixItems": [.array], "minItems": [.array], "maxItems": [.array],
        "uniqueItems": [.array], "minLength": [.string], "maxLength": [.string], "pattern": [.string], "minimum": [.number],
        "maximum": [.number], "exclusiveMinimum": [.number], "exclusiveMaximum": [.number], "multipleOf": [.number],
        "additionalItems": [.array], "unevaluatedProperties": [.object], "unevaluatedItems": [.array],
    ]

    static let numberFormats: [String: (String, String)?] = [
        "int32": ("-2147483648", "2147483647"), "int64": ("-9223372036854775808", "9223372036854775807"), "float": nil,
        "double": nil,
    ]
}
