import JSON
import TestKit
import Testing

private func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: text, source: "test.json") }

private func failure(_ text: String) -> JSONError? {
    do {
        _ = try JSONValue(parsing: text, source: "test.json")
        return nil
    } catch {
        return error
    }
}

@Suite struct JSONParsingTests {
    @Test func readsEveryKind() throws {
        let value = try parse(#" {"a": [1, -2, 2.5, 1e3, true, false, null, "x"], "b": {}, "c": []} "#)
        #expect(value == ["a": [1, -2, 2.5, 1000.0, true, false, nil, "x"], "b": [:], "c": []])
        #expect(value["a"]?[3]?.intValue == 1000)
        #expect(value["a"]?[9] == nil)
        #expect(value["missing"] == nil)
    }

    @Test(arguments: [
        ("0", JSONValue.integer(0)), ("-0", .integer(0)), ("-0.0", .number(-0.0)),
        ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
        ("9223372036854775808", .number(9223372036854775808)), ("-9223372036854775809", .number(-9223372036854775808)),
        ("1e400", .number(.infinity)), ("-1e400", .number(-.infinity)), ("1e-400", .number(0)),
        ("Infinity", .number(.infinity)), ("-Infinity", .number(-.infinity)),
        ("0.1", .number(0.1)), ("1E+2", .number(100)), ("123456789.123456789e-5", .number(123456789.123456789e-5)),
        ("5e-324", .number(.leastNonzeroMagnitude)), ("1.7976931348623157e308", .number(.greatestFiniteMagnitude)),
        ("2.2250738585072011e-308", .number(.leastNormalMagnitude.nextDown)),
    ])
    func readsNumbers(text: String, expected: JSONValue) throws {
        #expect(try parse(text) == expected)
    }

    @Test func readsNaN() throws {
        #expect(try parse("NaN").doubleValue?.isNaN == true)
    }

    @Test func readsEscapes() throws {
        #expect(try parse(#""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00""#) == .string("\"\\/\u{8}\u{C}\n\r\tAé😀"))
        #expect(try parse(#""\u0000""#) == .string("\0"))
    }

    @Test func lastDuplicateWinsInTheFirstPlace() throws {
        let object = try #require(try parse(#"{"a": 1, "b": 2, "a": 3}"#).objectValue)
        #expect(object.keys == ["a", "b"])
        #expect(object["a"] == 3)
    }

    @Test func keepsCanonicallyEquivalentKeysApart() throws {
        let object = try #require(try parse("{\"\u{E9}\": 1, \"e\u{301}\": 2}").objectValue)
        #expect(object.count == 2)
        #expect(object["\u{E9}"] == 1)
        #expect(object["e\u{301}"] == 2)
        #expect(JSONValue.string("\u{E9}") != .string("e\u{301}"))
    }

    @Test func findsKeysInLargeObjects() throws {
        let count = 5000
        let text = "{" + (0..<count).map { "\"k\($0)\": \($0)" }.joined(separator: ",") + "}"
        var object = try #require(try parse(text).objectValue)
        #expect(object.count == count)
        #expect((0..<count).allSatisfy { object["k\($0)"] == .integer($0) })
        object["k7"] = nil
        #expect(object["k7"] == nil)
        #expect(object["k8"] == 8)
        #expect(object.count == count - 1)
    }

    @Test(arguments: [
        ("", 1, 1, "unexpected end"), ("[1, 2", 1, 6, "expected ','"), ("[1,]", 1, 4, "trailing comma"),
        ("{\"a\": 1,\n \"b\" 2}", 2, 6, "expected ':'"), ("{a: 1}", 1, 2, "member name"), ("[1] x", 1, 5, "extra data"),
        ("01", 1, 2, "extra data"), ("-", 1, 1, "expected a value"), ("1.", 1, 2, "extra data"),
        ("tru", 1, 1, "expected a value"),
        ("\"a", 1, 1, "unterminated"), ("\"é\u{1}\"", 1, 3, "control character"), (#""\x""#, 1, 2, "unknown escape"),
        (#""\u12g4""#, 1, 2, "hexadecimal"), (#""\ud800""#, 1, 2, "lone surrogate"), (#""\udc00\ud800""#, 1, 2, "lone surrogate"),
        ("+1", 1, 1, "expected a value"), ("'a'", 1, 1, "expected a value"), ("[1 2]", 1, 4, "expected ','"),
        ("\"\\", 1, 1, "unterminated"), ("\"\\\"", 1, 1, "unterminated"), ("nan", 1, 1, "expected a value"),
    ])
    func refuses(text: String, line: Int, column: Int, message: String) throws {
        let error = try #require(failure(text))
        #expect(error.line == line && error.column == column)
        #expect(error.message.contains(message))
        #expect(error.source == "test.json")
    }

    @Test func namesThePath() throws {
        #expect(try #require(failure(#"{"model": {"list": [1, {"x": tru}]}}"#)).path == "$.model.list[1].x")
    }

    @Test func limitsDepth() throws {
        let deepest = JSONReader.depthLimit
        #expect(throws: Never.self) {
            try parse(String(repeating: "[", count: deepest) + String(repeating: "]", count: deepest))
        }
        #expect(try #require(failure(String(repeating: "[", count: 1_000_000))).message.contains("nested deeper"))
        #expect(try #require(failure(String(repeating: "{\"a\":", count: 1_000_000))).message.contains("nested deeper"))
    }

    @Test func refusesInvalidUTF8() throws {
        for bad: [UInt8] in [[0x80], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xFF]] {
            for padding: [UInt8] in [[], [0x5C, 0x6E]] {
                let document: [UInt8] = [0x22] + bad + padding + [0x22]
                #expect(throws: JSONError.self) { try JSONValue(parsing: document, source: "bad") }
            }
            #expect(bad.withUnsafeBufferPointer(isValidUTF8) == false)
        }
    }

    @Test func acceptsAByteOrderMark() throws {
        #expect(try JSONValue(parsing: [0xEF, 0xBB, 0xBF, 0x31], source: "bom") == 1)
    }

    @Test func namesAMissingFile() throws {
        let error = #expect(throws: JSONError.self) { try JSONValue(contentsOf: "/nonexistent/config.json") }
        #expect(error?.description.contains("/nonexistent/config.json") == true)
    }

    @Test func skipsWhatItDoesNotRead() throws {
        let bytes = Array(#"{"skip": [{"a": "\u00e9"}, [1.5e3, null, true]], "take": 7, "tail": "x"}"#.utf8)
        let taken = try bytes.withUnsafeBufferPointer { buffer in
            var reader = JSONReader(buffer, source: "test.json")
            var key: [UInt8] = []
            var result = 0
            try reader.beginObject()
            while try reader.nextKey(bytes: &key) {
                if key == Array("take".utf8) { result = try reader.readInt() } else { try reader.skipValue() }
            }
            try reader.finish()
            return result
        }
        #expect(taken == 7)
    }

    @Test func survivesTenThousandMutations() throws {
        let seed = Array(
            """
            {"version": "1.0", "list": [1, 2.5, -3e-7, true, false, null], "text": "a\\u00e9\\ud83d\\ude00\\n\u{E9}\u{1F600}",
             "nested": {"a": {"b": [[[]], {}]}}, "big": 123456789012345678901234567890, "nan": NaN}
            """.utf8)
        var mutator = Mutator(
            seed: 2, dictionary: ["\\u", "\\ud800", "[[[[", "{\"", "]", "}", "1e999", "-", "NaN", "\"", "\\", "\u{FEFF}"])
        var accepted = 0
        for _ in 0..<10_000 {
            let bytes = mutator.mutate(seed)
            do throws(JSONError) {
                let value = try JSONValue(parsing: bytes, source: "fuzz")
                // What is accepted must survive a round trip (NaN is unequal to itself, so compare the texts).
                let text = value.serialized()
                #expect(try JSONValue(parsing: text, source: "again").serialized() == text)
                accepted += 1
            } catch {
                #expect(error.line >= 1 && error.column >= 1)
            }
        }
        #expect(accepted > 100 && accepted < 9_900)
    }
}
