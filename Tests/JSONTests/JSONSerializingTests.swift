import JSON
import Testing

/// Expected texts are what CPython 3.11's `json.dumps` gives.
@Suite struct JSONSerializingTests {
    let sample: JSONValue = [
        "b": [1, 2.5, true, nil, "é\u{7F}\u{1}\"\\/😀"], "a": ["x": [:], "y": [], "z": 1e16],
    ]

    @Test func writesOneLine() {
        #expect(
            sample.serialized()
                == "{\"b\": [1, 2.5, true, null, \"é\u{7F}\\u0001\\\"\\\\/😀\"], \"a\": {\"x\": {}, \"y\": [], \"z\": 1e+16}}")
    }

    @Test func writesASCII() {
        #expect(
            sample.serialized(sortedKeys: true, asciiOnly: true)
                == #"{"a": {"x": {}, "y": [], "z": 1e+16}, "b": [1, 2.5, true, null, "\u00e9\u007f\u0001\"\\/\ud83d\ude00"]}"#)
    }

    @Test func writesIndented() {
        let value: JSONValue = ["a": [1, ["b": nil]], "c": [:], "d": []]
        #expect(
            value.serialized(indent: 2)
                == "{\n  \"a\": [\n    1,\n    {\n      \"b\": null\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}")
        #expect(value.serialized(indent: 0) == "{\n\"a\": [\n1,\n{\n\"b\": null\n}\n],\n\"c\": {},\n\"d\": []\n}")
    }

    @Test func writesGivenSeparators() {
        let value: JSONValue = ["a": [1, 2], "b": 3]
        #expect(value.serialized(itemSeparator: ",", keySeparator: ":") == #"{"a":[1,2],"b":3}"#)
    }

    @Test func sortsByCodePoint() {
        // U+FF5E sorts before U+10000 by code point, after it by UTF-16 unit.
        let value: JSONValue = ["\u{10000}": 1, "\u{FF5E}": 2, "B": 3, "a": 4]
        #expect(value.serialized(sortedKeys: true) == "{\"B\": 3, \"a\": 4, \"\u{FF5E}\": 2, \"\u{10000}\": 1}")
    }

    @Test(arguments: [
        (0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (-1.5, "-1.5"), (0.1, "0.1"), (1e-4, "0.0001"), (1e-5, "1e-05"),
        (0.00012345, "0.00012345"), (1.2345e-5, "1.2345e-05"), (1e15, "1000000000000000.0"), (1e16, "1e+16"),
        (9007199254740993.0, "9007199254740992.0"), (18014398509481984.0, "1.8014398509481984e+16"),
        (1234567890123456.7, "1234567890123456.8"), (12345678901234567.0, "1.2345678901234568e+16"), (1e100, "1e+100"),
        (.leastNonzeroMagnitude, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (100.0, "100.0"),
        (120.5, "120.5"),
        (.infinity, "Infinity"), (-.infinity, "-Infinity"), (.nan, "NaN"), (3.14159265358979, "3.14159265358979"),
    ])
    func writesFloatsAsPython(value: Double, expected: String) {
        #expect(pythonRepr(value) == expected)
    }
}
