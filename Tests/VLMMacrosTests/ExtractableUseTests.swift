import Foundation
import Testing
import VLMMacros

/// The macro as a program uses it.
struct ExtractableUseTests {
    @Extractable("How it was paid")
    enum Payment: String { case cash, card = "by card" }

    @Extractable
    enum Stars: Int { case one = 1, two }

    @Extractable("A line")
    struct Line: Equatable {
        @Field("What was bought") let name: String
        @Field(range: 0...) let price: Double
    }

    /// Everything a structure may hold.
    @Extractable("A shop's receipt")
    struct Receipt {
        @Field("Name of the shop", count: 1...80) let shop: String
        @Field("Total in euros", range: 0...1_000_000) let total: Double
        @Field("What was bought", count: 1...20) let lines: [Line]
        let payment: Payment?, rating: Stars
        @Field(pattern: "^[A-Z]{2}[0-9]+$") private let number: Optional<String>
        let `default`: Bool
        var tags: [String: [String]] = [:] { didSet { changes += 0 } }
        @Field(range: 0...1, count: 4) var box: [Float]?
        let date: Date
        let related: [Receipt]

        static let limit = 5
        var changes: Int {
            get { 0 }
            set {}
        }

        var firstLine: Line? { lines.first }
    }

    @Extractable
    struct Renamed: Codable {
        let invoiceNumber: Int
        var note = ""
        var `in`: String
        enum CodingKeys: String, CodingKey { case invoiceNumber = "invoice_number", `in` }
    }

    /// Seen by others.
    @Extractable
    public struct Open {
        /// Seen by others.
        public let name: String
    }

    @Extractable
    struct Page<Item: Extractable> {
        let items: [Item]
        let more: Bool
    }

    @Test func schemasFollowTheDeclaration() {
        #expect(Payment.schema.jsonSchema == #"{"description": "How it was paid", "enum": ["cash", "by card"]}"#)
        #expect(Stars.schema.jsonSchema == #"{"enum": [1, 2]}"#)
        #expect(
            Line.schema.jsonSchema == """
                {"description": "A line", "type": "object", "properties": {\
                "name": {"description": "What was bought", "type": "string"}, "price": {"type": "number", "minimum": 0}}, \
                "required": ["name", "price"], "additionalProperties": false}
                """)
        #expect(
            Receipt.schema.instructions == """
                Answer in JSON. A shop's receipt:
                - shop: Name of the shop (text, 1 to 80 characters)
                - total: Total in euros (number, 0 to 1000000)
                - lines: What was bought (list of 1 to 20 objects)
                  - name: What was bought (text)
                  - price: number, at least 0
                - payment: How it was paid (one of "cash", "by card", or null)
                - rating: one of 1, 2
                - number: text or null
                - default: true or false
                - tags: object that maps names to values, each list of texts
                - box: list of 4 values, each number, 0 to 1, or null
                - date: date like 2026-03-31
                - related: list of objects
                Write null where there is nothing to read.
                """)
        #expect(Receipt.schema.jsonSchema.contains(##""pattern": "^[A-Z]{2}[0-9]+$""##))
        #expect(Receipt.schema.jsonSchema.hasPrefix(##"{"description": "A shop's receipt", "$ref": "#/$defs/Receipt""##))
        #expect(Renamed.schema.jsonSchema.contains(#""required": ["invoice_number", "in"]"#))
        #expect(Page<Int>.schema.jsonSchema.contains(#""items": {"type": "array", "items": {"type": "integer""#))
    }

    @Test func partialsHaveTheSameMembers() throws {
        var partial = Receipt.Partial()
        #expect(partial.shop == nil && partial.lines == nil && partial.default == nil)
        partial.payment = .card
        partial.rating = .two
        partial.box = [0.5]
        partial.tags = ["a": ["b"]]
        partial.date = Date(timeIntervalSince1970: 0)
        let line = Line.Partial()
        partial.lines = [line]
        partial.related = [Receipt.Partial()]
        let renamed = try JSONDecoder().decode(Renamed.Partial.self, from: Data(#"{"invoice_number": 3}"#.utf8))
        #expect(renamed.invoiceNumber == 3 && renamed.in == nil)
        let page = try JSONDecoder().decode(Page<Line>.Partial.self, from: Data(#"{"items": [{"name": "Tea"}]}"#.utf8))
        #expect(page.items?.first?.name == "Tea" && page.more == nil)
    }

    @Test func valuesAreDecoded() throws {
        let line = try JSONDecoder().decode(Line.self, from: Data(#"{"name": "Tea", "price": 2}"#.utf8))
        #expect(line == Line(name: "Tea", price: 2))
        let renamed = try JSONDecoder().decode(Renamed.self, from: Data(#"{"invoice_number": 3, "in": "x"}"#.utf8))
        #expect(renamed.invoiceNumber == 3 && renamed.note == "")
    }

    /// What the article on extracting values shows.
    @Test func theArticlesExampleIsRight() throws {
        #expect(
            Invoice.schema.instructions == """
                Answer in JSON. A shop's invoice:
                - shop: Name of the shop (text)
                - date: Day of issue (date like 2026-03-31 or null)
                - lines: What was bought, in the order of the invoice (list of 1 to 20 objects)
                  - name: text, 1 to 80 characters
                  - quantity: Number of pieces (whole number, at least 1)
                  - price: Price of one piece in euros (number, at least 0, or null)
                - total: Total in euros, taxes included (number, 0 to 1000000)
                - payment: How it was paid (one of "cash", "card", "transfer", "unknown")
                Write null where there is nothing to read.
                """)
    }
}

@Extractable("A shop's invoice")
private struct Invoice {
    @Field("Name of the shop") let shop: String
    @Field("Day of issue") let date: Date?
    @Field("What was bought, in the order of the invoice", count: 1...20) let lines: [InvoiceLine]
    @Field("Total in euros, taxes included", range: 0...1_000_000) let total: Decimal
    let payment: InvoicePayment
}

@Extractable
private struct InvoiceLine {
    @Field(count: 1...80) let name: String
    @Field("Number of pieces", range: 1...) let quantity: Int
    @Field("Price of one piece in euros", range: 0...) let price: Decimal?
}

@Extractable("How it was paid")
private enum InvoicePayment: String { case cash, card, transfer, unknown }
