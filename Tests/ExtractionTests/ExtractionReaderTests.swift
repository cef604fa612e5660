import Extraction
import Foundation
import Testing

/// Reading values from the pieces of an answer, without a model.
struct ExtractionReaderTests {
    enum Kind: String, CaseIterable, Extractable { case bill, receipt }

    struct Line: Extractable, Equatable {
        struct Partial: Codable, Sendable, Equatable {
            var name: String?
            var price: Double?
        }
        let name: String
        let price: Double
        static var schema: ExtractionSchema {
            .object(Line.self, nil, [.property("name", String.self), .property("price", Double.self)])
        }
    }

    struct Paper: Extractable, Equatable {
        struct Partial: Codable, Sendable, Equatable {
            var kind: Kind?
            var lines: [Line.Partial]?
            var date: Date?
        }
        let kind: Kind
        let lines: [Line]
        let date: Date?
        static var schema: ExtractionSchema {
            .object(
                Paper.self, nil,
                [.property("kind", Kind.self), .property("lines", [Line].self), .property("date", Date?.self)])
        }
    }

    private let answer =
        #"{"kind": "bill", "lines": [{"name": "Tea", "price": 2.5}, {"name": "É", "price": 1}], "date": "2026-03-31"}"#

    @Test func aValueFillsPieceByPiece() throws {
        var reader = ExtractionReader<Paper>()
        var seen: [Paper.Partial] = []
        for character in answer { if let news = reader.read(String(character)) { seen.append(news) } }
        let last = try reader.finish(endedByLength: false, tokenCount: 3)
        let date = Date(timeIntervalSince1970: 1_774_915_200)
        #expect(
            last.value
                == Paper(kind: .bill, lines: [Line(name: "Tea", price: 2.5), Line(name: "É", price: 1)], date: date))
        let tea = Line.Partial(name: "Tea", price: 2.5)
        #expect(
            seen == [
                .init(), .init(kind: .bill), .init(kind: .bill, lines: []), .init(kind: .bill, lines: [.init()]),
                .init(kind: .bill, lines: [.init(name: "")]), .init(kind: .bill, lines: [.init(name: "T")]),
                .init(kind: .bill, lines: [.init(name: "Te")]), .init(kind: .bill, lines: [.init(name: "Tea")]),
                .init(kind: .bill, lines: [tea]), .init(kind: .bill, lines: [tea, .init()]),
                .init(kind: .bill, lines: [tea, .init(name: "")]), .init(kind: .bill, lines: [tea, .init(name: "É")]),
                .init(kind: .bill, lines: [tea, .init(name: "É", price: 1)]),
                .init(kind: .bill, lines: [tea, .init(name: "É", price: 1)], date: date),
            ])
    }

    @Test func anAnswerCutShortTellsWhatWasRead() throws {
        var reader = ExtractionReader<Paper>()
        _ = reader.read(String(answer.prefix(52)))
        let error = try #require(throws: ExtractionError.self) { try reader.finish(endedByLength: true, tokenCount: 3) }
        #expect(error.kind == .cutShort && error.path == nil)
        #expect(error.description.contains("after 3 tokens") && error.description.contains("maxNewTokens"))
        #expect(error.partial(of: Paper.self) == .init(kind: .bill, lines: [.init(name: "Tea")]))
        #expect(error.text == answer.prefix(52))
    }

    /// The last token allowed may be the one that completes the value.
    @Test func aWholeValueAtTheLimitIsAValue() throws {
        var reader = ExtractionReader<[Int]>()
        _ = reader.read("[1, 2]")
        #expect(try reader.finish(endedByLength: true, tokenCount: 3).value == [1, 2])
        var number = ExtractionReader<Int>()
        #expect(number.read("12") == nil)
        #expect(try number.finish(endedByLength: false, tokenCount: 3).value == 12)
    }

    @Test(
        arguments: [
            (#"{"kind": "bill", "lines": [{"name": "Tea", "price": "x"}], "date": null}"#, "$.lines[0].price"),
            (#"{"kind": "bill", "lines": [{"name": "Tea"}], "date": null}"#, "$.lines[0]"), (#"{"lines": []}"#, "$"),
            (#"{"kind": "bill", "lines": [], "date": "soon"}"#, "$.date"), (#"{"kind": "letter", "lines": []}"#, "$.kind"),
            ("The answer is 2.", nil), ("", nil),
        ] as [(String, String?)])
    func whatCannotBeReadNamesItsPlace(_ text: String, _ path: String?) throws {
        var reader = ExtractionReader<Paper>()
        _ = reader.read(text)
        let error = try #require(throws: ExtractionError.self) { try reader.finish(endedByLength: false, tokenCount: 3) }
        #expect(error.kind == .unreadable)
        #expect(error.path == path)
        #expect(error.description.hasPrefix("the answer is no Paper: "))
    }

    @Test func numbersThatDoNotFitNameTheirPlace() throws {
        func reason<Value: Extractable>(_ type: Value.Type, _ text: String) throws -> String {
            var reader = ExtractionReader<Value>()
            _ = reader.read(text)
            return try #require(throws: ExtractionError.self) { try reader.finish(endedByLength: false, tokenCount: 3) }
                .description
        }
        #expect(try reason([Int8].self, "[1, 300]") == "the answer is no Array<Int8>: $[1]: 300 does not fit Int8")
        #expect(try reason([String: UInt].self, #"{"a": -1}"#).hasSuffix("$.a: -1 does not fit UInt"))
        #expect(try reason(Int.self, "1.5").hasSuffix("$: 1.5 does not fit Int"))
        #expect(try reason(Double.self, "1e999").hasSuffix("$: the number does not fit Double"))
        #expect(try reason([Float].self, "[1e99]").hasSuffix("$[0]: 1e+99 does not fit Float"))
        #expect(try reason([Bool].self, "[true, null]").hasSuffix("$[1]: true or false is needed, not null"))
    }

    @Test func foundationsTypesAreRead() throws {
        struct Facts: Extractable, Equatable {
            let price: Decimal
            let count: Decimal
            let site: URL
            let id: UUID
            let days: [String: Date]
            let none: Float?
            let big: UInt64
            static var schema: ExtractionSchema { .boolean }
        }
        let text = #"""
            {"price": 19.99, "count": 3, "site": "https://example.org/a", "id": "E621E1F8-C36C-495A-93FC-0C247A3E6E5F",
             "days": {"due": "1970-01-02"}, "none": null, "big": 9007199254740993}
            """#
        let facts = try ExtractionDecoding.decode(Facts.self, from: Array(text.utf8))
        #expect(facts.price == Decimal(string: "19.99") && facts.count == 3)
        #expect(facts.site.absoluteString == "https://example.org/a")
        #expect(facts.id.uuidString == "E621E1F8-C36C-495A-93FC-0C247A3E6E5F")
        #expect(facts.days == ["due": Date(timeIntervalSince1970: 86_400)] && facts.none == nil)
        #expect(facts.big == 9_007_199_254_740_993)
        #expect(throws: DecodingError.self) { try ExtractionDecoding.decode(UUID.self, from: Array(#""x""#.utf8)) }
        #expect(throws: DecodingError.self) { try ExtractionDecoding.decode(URL.self, from: Array(#""""#.utf8)) }
    }
}
