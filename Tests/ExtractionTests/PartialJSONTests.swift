import Extraction
import JSON
import Testing

struct PartialJSONTests {
    enum Colour: String, CaseIterable, Extractable { case red, reddish }

    /// Without a `Partial` of its own: shown when whole.
    struct Point: Extractable {
        let x: Int
        static var schema: ExtractionSchema { .object(Point.self, nil, [.property("x", Int.self)]) }
    }

    struct Shape: Extractable {
        struct Partial: Decodable, Sendable {}
        let name: String
        let colour: Colour?
        let points: [Point]
        let tags: [String: String]
        static var schema: ExtractionSchema {
            .object(
                Shape.self, nil,
                [
                    .property("name", String.self), .property("colour", Colour?.self), .property("points", [Point].self),
                    .property("tags", [String: String].self),
                ])
        }
    }

    private func complete(_ bytes: some Collection<UInt8>, _ schema: ExtractionSchema? = nil) -> String? {
        var json = PartialJSON(schema: schema)
        json.append(bytes)
        return json.document.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(
        arguments: [
            ("", nil), (" ", nil), ("{", "{}"), (" [", " []"), ("[]", "[]"), ("{} ", "{}"),
            // Numbers and words count when the character after them has come.
            ("1", nil), ("[1", "[]"), ("[1,", "[1]"), ("[1, 25", "[1]"), ("[-", "[]"), ("[1.", "[]"), ("[1.5]", "[1.5]"),
            ("[1e", "[]"), ("[1e5 ", "[1e5]"), ("[tru", "[]"), ("[true", "[true]"), ("[null", "[null]"), ("12 ", "12"),
            // Names without values.
            (#"{"a"#, "{}"), (#"{"a""#, "{}"), (#"{"a":"#, "{}"), (#"{"a": 1"#, "{}"), (#"{"a": 1,"#, #"{"a": 1}"#),
            (#"{"a": 1, "b"#, #"{"a": 1}"#), (#"{"a": {"b": ["#, #"{"a": {"b": []}}"#), (#"[{"a":1},{"#, #"[{"a":1},{}]"#),
            // Texts as far as they go.
            (#"""#, #""""#), (#"["ab"#, #"["ab"]"#), (#"["ab\"#, #"["ab"]"#), (#"["ab\n"#, #"["ab\n"]"#),
            (#"["ab\u00"#, #"["ab"]"#),
            (#"["\u00e9"#, #"["\u00e9"]"#), (#"["a\ud83d"#, #"["a"]"#), (#"["a\ud83d\u"#, #"["a"]"#),
            (#"["a\ud83d\ude00"#, #"["a\ud83d\ude00"]"#), (#"{"a":"b\\"#, #"{"a":"b\\"}"#), (#"{"a\"":"b"#, #"{"a\"":"b"}"#),
            // What is no JSON adds nothing.
            ("[1,]", "[1]"), ("[1}", "[1]"), ("[01,", "[]"), ("[1.,", "[]"), ("{a", "{}"), ("[1] 2", "[1]"), ("[tx", "[]"),
            (#"["a\x"#, #"["a"]"#), (#"["a\ude00"#, #"["a"]"#), (#"["a\ud83db"#, #"["a"]"#), ("[\"a\n", #"["a"]"#), ("{,", "{}"),
            ("x", nil),
        ] as [(String, String?)])
    func beginningsBecomeDocuments(_ text: String, _ expected: String?) {
        #expect(complete(text.utf8) == expected)
    }

    @Test func textsAreCutBetweenCharacters() {
        let text = "[\"a\u{E9}\u{20AC}\u{1F600}"
        let shown = (0...text.utf8.count).map { complete(text.utf8.prefix($0)) }
        #expect(
            shown == [
                nil, "[]", "[\"\"]", "[\"a\"]", "[\"a\"]", "[\"aé\"]", "[\"aé\"]", "[\"aé\"]", "[\"aé€\"]", "[\"aé€\"]",
                "[\"aé€\"]",
                "[\"aé€\"]", "[\"aé€😀\"]",
            ])
    }

    @Test(
        arguments: [
            (#"{"name": "bo"#, #"{"name": "bo"}"#),
            // `red` may go on to be `reddish`.
            (#"{"name": "box", "colour": "red"#, #"{"name": "box"}"#),
            (#"{"name": "box", "colour": "red""#, #"{"name": "box", "colour": "red"}"#),
            (#"{"colour": null, "points": [{"x": 1"#, #"{"colour": null, "points": []}"#),
            (#"{"points": [{"x": 1}"#, #"{"points": [{"x": 1}]}"#),
            (#"{"points": [{"x": 1}, {"x": 2"#, #"{"points": [{"x": 1}]}"#),
            (#"{"tags": {"a": "b"#, #"{"tags": {"a": "b"}}"#), (#"{"t\u0061gs": {"a": "b"#, #"{"t\u0061gs": {"a": "b"}}"#),
            (#"{"unknown": {"a": "b"#, #"{"unknown": {"a": "b"}}"#),
        ] as [(String, String)])
    func theSchemaTellsWhatMeansNothingUntilItIsWhole(_ text: String, _ expected: String) {
        #expect(complete(text.utf8, Shape.schema) == expected)
    }

    /// However a document is cut, what is shown is JSON, and grows.
    @Test func everyBeginningIsADocumentThatGrows() throws {
        let document = #"""
             {"a": [1, -2.5e-3, {"é\"\u00e9\ud83d\ude00": "x\\y€😀", "b": {}}, [], [[]]], "c": true, "d": null,
              "e": {"f": [false, "", {"g": 0}]}}
            """#
        let bytes = Array(document.utf8)
        var json = PartialJSON()
        var sizes: [Int] = []
        for (count, byte) in bytes.enumerated() {
            json.append([byte])
            #expect(json.document == complete(bytes[...count]).map { Array($0.utf8) })
            guard let shown = json.document else { continue }
            let value = try JSONValue(parsing: shown, source: "cut after \(count + 1)")
            sizes.append(value.serialized().unicodeScalars.count)
        }
        #expect(json.isComplete && !json.isBroken)
        #expect(try JSONValue(parsing: json.document ?? [], source: "shown") == JSONValue(parsing: bytes, source: "all"))
        #expect(zip(sizes, sizes.dropFirst()).allSatisfy { $0 <= $1 })
        json.append("}".utf8)
        #expect(json.isBroken)
    }
}
