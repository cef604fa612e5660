import Extraction
import Foundation
import JSON
import Testing

struct ExtractionSchemaTests {
    enum Currency: String, CaseIterable, Extractable { case eur = "EUR", usd = "USD" }
    enum Stars: Int, CaseIterable, Extractable { case one = 1, two }

    struct Line: Extractable {
        let name: String
        let price: Double?
        static var schema: ExtractionSchema {
            .object(Line.self, "A line", [.property("name", String.self), .property("price", Double?.self, .range(0...))])
        }
    }

    struct Receipt: Extractable {
        let shop: String
        let total: Double
        let lines: [Line]
        static var schema: ExtractionSchema {
            .object(
                Receipt.self, "A shop's receipt",
                [
                    .property("shop", String.self, "Name of the shop"),
                    .property("total", Double.self, "Total in euros", .range(0...1_000_000)),
                    .property("lines", [Line].self, .count(1...20)),
                ])
        }
    }

    final class Tree: Extractable {
        let label: String
        let children: [Tree]
        let parent: Other?
        static var schema: ExtractionSchema {
            .object(
                Tree.self, nil,
                [
                    .property("label", String.self), .property("children", [Tree].self),
                    .property("parent", Other?.self, "The owner"),
                ])
        }
    }

    final class Other: Extractable {
        let tree: Tree
        static var schema: ExtractionSchema { .object(Other.self, nil, [.property("tree", Tree.self)]) }
    }

    @Test func structuresRenderInTheOrderOfTheirMembers() {
        #expect(
            Receipt.schema.jsonSchema == """
                {"description": "A shop's receipt", "type": "object", "properties": {\
                "shop": {"description": "Name of the shop", "type": "string"}, \
                "total": {"description": "Total in euros", "type": "number", "minimum": 0, "maximum": 1000000}, \
                "lines": {"type": "array", "items": {"description": "A line", "type": "object", "properties": {\
                "name": {"type": "string"}, "price": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]}}, \
                "required": ["name", "price"], "additionalProperties": false}, "minItems": 1, "maxItems": 20}}, \
                "required": ["shop", "total", "lines"], "additionalProperties": false}
                """)
    }

    @Test func theModelIsToldAboutTheFields() {
        #expect(
            Receipt.schema.instructions == """
                Answer in JSON. A shop's receipt:
                - shop: Name of the shop (text)
                - total: Total in euros (number, 0 to 1000000)
                - lines: list of 1 to 20 objects
                  - name: text
                  - price: number, at least 0, or null
                Write null where there is nothing to read.
                """)
        #expect([Currency].schema.instructions == #"Answer in JSON: list of values, each one of "EUR", "USD"."#)
        #expect(Int?.schema.instructions == "Answer in JSON: whole number or null.\nWrite null where there is nothing to read.")
        #expect(
            [String: [Date]].schema.instructions.hasSuffix(
                "maps names to values, each list of values, each date like 2026-03-31."))
    }

    @Test func typesThatContainThemselvesAreDefinedOnce() throws {
        let schema = Tree.schema.jsonSchema
        #expect(
            schema == """
                {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object", "properties": {"label": {"type": "string"}, \
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}, \
                "parent": {"description": "The owner", "anyOf": [{"type": "object", "properties": {"tree": {"$ref": "#/$defs/Tree"}}, \
                "required": ["tree"], "additionalProperties": false}, {"type": "null"}]}}, \
                "required": ["label", "children", "parent"], "additionalProperties": false}}}
                """)
        #expect(
            Tree.schema.instructions == """
                Answer in JSON with these fields:
                - label: text
                - children: list of objects
                - parent: The owner (object or null)
                  - tree: object
                Write null where there is nothing to read.
                """)
    }

    private struct Holder: Extractable {
        static var schema: ExtractionSchema { .boolean }
    }

    private func schema<Value: Extractable>(of type: Value.Type) throws -> JSONValue {
        try JSONValue(parsing: Value.schema.jsonSchema, source: "schema")
    }

    private func schema<Value: Extractable>(of type: Value.Type, _ limit: ExtractionLimit<Value>) throws -> JSONValue {
        let holder = ExtractionSchema.object(Holder.self, nil, [.property("x", type, limit)])
        return try #require(try JSONValue(parsing: holder.jsonSchema, source: "schema")["properties"]?["x"])
    }

    @Test func plainTypesHaveTheirForms() throws {
        #expect(try schema(of: Bool.self) == ["type": "boolean"])
        #expect(try schema(of: UInt8.self) == ["type": "integer", "minimum": 0, "maximum": 255])
        #expect(try schema(of: Int.self) == ["type": "integer", "minimum": .integer(.min), "maximum": .integer(.max)])
        #expect(try schema(of: UInt64.self) == ["type": "integer", "minimum": 0, "maximum": .integer(.max)])
        #expect(try schema(of: Float.self) == ["type": "number"])
        #expect(try schema(of: Decimal.self) == ["type": "number"])
        #expect(try schema(of: Currency.self) == ["enum": ["EUR", "USD"]])
        #expect(try schema(of: Stars.self) == ["enum": [1, 2]])
        #expect(try schema(of: String??.self) == ["anyOf": [["type": "string"], ["type": "null"]]])
        #expect(
            try schema(of: [String: Bool].self) == ["type": "object", "additionalProperties": ["type": "boolean"]])
    }

    @Test func limitsReachWhatTheyLimit() throws {
        #expect(try schema(of: Int8.self, .range(1...)) == ["type": "integer", "minimum": 1, "maximum": 127])
        #expect(try schema(of: Double.self, .range(0.5...Double.infinity)) == ["type": "number", "minimum": 0.5])
        #expect(
            try schema(of: [Float]?.self, .range(...2))
                == ["anyOf": [["type": "array", "items": ["type": "number", "maximum": 2]], ["type": "null"]]])
        #expect(try schema(of: String.self, .count(3)) == ["type": "string", "minLength": 3, "maxLength": 3])
        #expect(try schema(of: String.self, .pattern("^a+$")) == ["type": "string", "pattern": "^a+$"])
        #expect(
            try schema(of: [[String]].self, .count(...4))
                == ["type": "array", "items": ["type": "array", "items": ["type": "string"]], "maxItems": 4])
        #expect(
            try schema(of: [String: String].self, .count(2...))
                == ["type": "object", "additionalProperties": ["type": "string"], "minProperties": 2])
    }

    @Test(arguments: [
        ("2026-03-31", true), ("2024-02-29", true), ("2026-04-31", false), ("2026-13-01", false), ("31.03.2026", false),
        ("2026-03-31T10:00:00Z", true), ("2026-03-31T10:00:00+02:00", true), ("2026-03-31T10:00:00", true),
        ("2026-03-31T24:00:00", false), ("2026-03-31T10:00", false),
    ])
    func datesThatTheSchemaAllowsAreRead(_ text: String, _ allowed: Bool) throws {
        let pattern = try #require(try schema(of: Date.self)["pattern"]?.stringValue)
        #expect((text.range(of: pattern, options: .regularExpression) != nil) == allowed)
        if allowed { #expect(ExtractionDecoding.date(text) != nil) }
    }

    @Test func datesWithoutAZoneAreInUTC() throws {
        #expect(ExtractionDecoding.date("1970-01-02")?.timeIntervalSince1970 == 86_400)
        #expect(ExtractionDecoding.date("1970-01-01T00:00:10")?.timeIntervalSince1970 == 10)
        #expect(ExtractionDecoding.date("1970-01-01T02:00:00+02:00")?.timeIntervalSince1970 == 0)
        #expect(ExtractionDecoding.date("2026-02-29") != nil)
    }

    @Test(arguments: ["https://example.org", "http://a.b:80/c?d=e#f", "https://example.org/a%20b"])
    func addressesThatTheSchemaAllowsAreRead(_ text: String) throws {
        let pattern = try #require(try schema(of: URL.self)["pattern"]?.stringValue)
        #expect(text.range(of: pattern, options: .regularExpression) != nil)
        #expect(try ExtractionDecoding.decode([URL].self, from: Array("[\"\(text)\"]".utf8)) == [try #require(URL(string: text))])
        #expect("see \(text)".range(of: pattern, options: .regularExpression) == nil)
    }
}
