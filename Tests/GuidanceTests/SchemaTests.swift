import Guidance
import Testing

@Suite struct SchemaTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let schema: String
        let valid: [String]
        let invalid: [String]
        init(_ schema: String, _ valid: [String], _ invalid: [String]) {
            (self.schema, self.valid, self.invalid) = (schema, valid, invalid)
        }
        var testDescription: String { schema }
    }

    static let cases: [Case] = [
        // Types.
        Case(#"{"type":"null"}"#, ["null"], ["", "nul", "true"]),
        Case(#"{"type":"boolean"}"#, ["true", "false"], ["null", "True"]),
        Case(#"{"type":"integer"}"#, ["0", "-7", "1234567890123456789012"], ["-0", "01", "1.0", "1e3", "+1", ""]),
        Case(#"{"type":"number"}"#, ["0", "-0", "1.50", "-2e10", "3E-7", "0.1e+2"], ["01", ".5", "1.", "1e", "--1", "NaN"]),
        Case(
            #"{"type":"string"}"#, [#""""#, #""a\n\"\\\/\u00e9é🙂""#, #""\ud83d\ude42""#],
            [#"""#, "\"\n\"", #""\x""#, #""\ud83d""#, #""\ude42""#, #""\ud83dx""#, "\"\u{1F}\"", "a"]),
        Case(#"{"type":["string","null"]}"#, [#""x""#, "null"], ["1"]),
        Case(#"{"type":"string","nullable":true}"#, [#""x""#, "null"], ["1"]),
        Case(#"{"type":["integer","number"]}"#, ["1", "1.5"], ["true"]),
        Case("true", ["1", #"{"a":[1,{"b":null}]}"#, #""x""#, "[]"], ["", "{", "[1,]"]),
        Case("{}", ["1", #"{"a":[]}"#], ["nope"]),
        Case(#"{"title":"T","description":"D","$comment":"c","x-own":1}"#, ["1"], [""]),
        // Given values.
        Case(
            #"{"enum":["a",1,null,1.5,"é\"",[1,2],{"k":"v"}]}"#,
            [#""a""#, "1", "null", "1.5", #""é\"""#, "[1,2]", "[1, 2]", #"{"k": "v"}"#], ["2", #""b""#, "[2,1]"]),
        Case(#"{"const":"yes"}"#, [#""yes""#], [#""no""#, #""yes"#]),
        Case(#"{"type":"integer","enum":[1,2,"x",2.5],"minimum":2}"#, ["2"], ["1", #""x""#, "2.5"]),
        Case(#"{"enum":["abc","abd","a"]}"#, [#""a""#, #""abd""#], [#""ab""#]),
        // Objects.
        Case(
            #"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"]}"#,
            [
                #"{"b":"x"}"#, #"{"a":1,"b":"x"}"#, #"{"b":"x","c":null}"#, #"{"a": 1, "b": "x", "c": null}"#,
                "{\n  \"a\": 1,\n  \"b\": \"\"\n}",
            ],
            [
                "{}", #"{"a":1}"#, #"{"b":"x","a":1}"#, #"{"b":"x",}"#, #"{,"b":"x"}"#, #"{"b":"x","d":1}"#, #"{"b":"x""b":"x"}"#,
                #"{"a":1 "b":"x"}"#,
            ]),
        Case(
            #"{"properties":{"a":{"type":"null"},"b":{"type":"null"}}}"#,
            ["{}", #"{"a":null}"#, #"{"b":null}"#, #"{"a":null,"b":null}"#], [#"{"b":null,"a":null}"#, "1", #"{"c":1}"#]),
        Case(#"{"type":"object"}"#, ["{}", #"{"any":{"thing":[1]}}"#], ["[]", "1"]),
        Case(#"{"type":"object","additionalProperties":false}"#, ["{}"], [#"{"a":1}"#]),
        Case(
            #"{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":{"type":"string"}}"#,
            [#"{"id":1}"#, #"{"id":1,"x":"y","id2":"z","i":"w"}"#],
            [#"{"x":"y"}"#, #"{"id":1,"id":"again"}"#, #"{"id":1,"x":2}"#, #"{"id":1,"\u0069d":"x"}"#]),
        Case(
            #"{"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2}"#,
            [#"{"a":1}"#, #"{"a":1,"b":2}"#], ["{}", #"{"a":1,"b":2,"c":3}"#]),
        Case(#"{"required":["a"]}"#, [#"{"a":[1]}"#], ["{}", "1"]),
        Case(#"{"properties":{"a":false,"b":true}}"#, ["{}", #"{"b":{"x":1}}"#], [#"{"a":1}"#]),
        Case(#"{"properties":{"k~1/\"é":{"const":1}},"required":["k~1/\"é"]}"#, [#"{"k~1/\"é":1}"#], ["{}"]),
        // Arrays.
        Case(
            #"{"type":"array","items":{"type":"integer"}}"#, ["[]", "[1]", "[1,2, 3]", "[\n 1,\n 2\n]"],
            ["[1,]", "[,1]", "[true]", "[1 2]"]),
        Case(
            #"{"type":"array","items":{"type":"null"},"minItems":2,"maxItems":3}"#, ["[null,null]", "[null,null,null]"],
            ["[]", "[null]", "[null,null,null,null]"]),
        Case(#"{"type":"array","maxItems":0}"#, ["[]"], ["[1]"]),
        Case(#"{"type":"array","minItems":1}"#, ["[1]", "[[],{}]"], ["[]"]),
        Case(#"{"prefixItems":[{"const":1},{"const":2}]}"#, ["[]", "[1]", "[1,2]"], ["[2]", "[1,2,3]"]),
        Case(
            #"{"prefixItems":[{"const":1},{"const":2}],"minItems":2,"items":{"type":"string"}}"#, ["[1,2]", #"[1,2,"x","y"]"#],
            ["[1]", "[1,2,3]"]),
        Case(
            #"{"prefixItems":[{"const":1}],"items":{"const":0},"minItems":3,"maxItems":4}"#, ["[1,0,0]", "[1,0,0,0]"],
            ["[1,0]", "[1,0,0,0,0]"]),
        Case(#"{"type":"array","items":[{"const":1}],"additionalItems":false}"#, ["[]", "[1]"], ["[1,1]"]),
        Case(#"{"type":"array","uniqueItems":false}"#, ["[1,1]"], [""]),
        // Choices and references.
        Case(#"{"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]}"#, ["1", #""a""#], [#""ab""#, "null"]),
        Case(#"{"oneOf":[{"const":"a"},{"const":"b"}]}"#, [#""a""#, #""b""#], [#""c""#]),
        Case(
            #"{"type":"object","properties":{"a":{"type":"integer"}},"anyOf":[{"required":["a"]},{"properties":{"b":{"const":1}},"required":["b"]}]}"#,
            [#"{"a":1}"#, #"{"a":1,"b":1}"#, #"{"b":1}"#], ["{}"]),
        Case(
            #"{"allOf":[{"type":"integer","minimum":3},{"maximum":5},{"type":"number"}]}"#, ["3", "4", "5"], ["2", "6", "3.5"]),
        Case(
            #"{"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":5},"b":{"type":"null"}},"required":["b"]}]}"#,
            [#"{"a":5,"b":null}"#], [#"{"a":4,"b":null}"#, #"{"a":5}"#]),
        Case(#"{"allOf":[{"anyOf":[{"const":1},{"const":2}]},{"anyOf":[{"const":2},{"const":3}]}]}"#, ["2"], ["1", "3"]),
        Case(##"{"$ref":"#/$defs/x","$defs":{"x":{"type":"integer"}},"minimum":2}"##, ["2"], ["1", "true"]),
        Case(
            ##"{"$ref":"#/definitions/node","definitions":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/definitions/node"},{"type":"null"}]}},"required":["v","next"]}}}"##,
            [#"{"v":1,"next":null}"#, #"{"v":1,"next":{"v":2,"next":{"v":3,"next":null}}}"#],
            [#"{"v":1}"#, #"{"v":1,"next":{"v":2}}"#]),
        Case(
            ##"{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}}}"##,
            ["{}", #"{"children":[]}"#, #"{"children":[{},{"children":[{}]}]}"#], [#"{"children":[1]}"#]),
        Case(
            ##"{"properties":{"a b":{"const":1}},"anyOf":[{"properties":{"c":{"$ref":"#/properties/a%20b"}}}]}"##,
            [##"{"c":1}"##], [##"{"c":2}"##]),
        // Strings.
        Case(
            #"{"type":"string","minLength":2,"maxLength":3}"#, [#""ab""#, #""é🙂a""#, #""\n\ud83d\ude42""#],
            [#""a""#, #""abcd""#, #""""#]),
        Case(#"{"type":"string","maxLength":0}"#, [#""""#], [#""a""#]),
        Case(#"{"pattern":"^[a-c]{2}$"}"#, [#""ab""#], [#""abc""#, #""a""#, "1"]),
        Case(#"{"type":"string","pattern":"b+"}"#, [#""b""#, #""xbby""#, #""\"b""#], [#""x""#, #""""#]),
        Case(#"{"type":"string","pattern":"^a|z$"}"#, [#""a1""#, #""1z""#], [#""1""#, #""za""#]),
        Case(#"{"type":"string","pattern":"^[\"\\\\\\n]+$"}"#, [#""\"\\\n""#], [#""a""#]),
        Case(
            #"{"type":"string","pattern":"^a*$","minLength":2,"maxLength":3}"#, [#""aa""#, #""aaa""#],
            [#""a""#, #""aaaa""#, #""bb""#]),
        Case(#"{"allOf":[{"type":"string","pattern":"a"},{"pattern":"b"}]}"#, [#""ab""#, #""xbxa""#], [#""a""#, #""b""#]),
        Case(
            #"{"type":"string","format":"date"}"#, [#""2024-02-29""#, #""2023-12-31""#, #""2000-02-29""#],
            [#""2023-02-29""#, #""1900-02-29""#, #""2024-04-31""#, #""2024-13-01""#, #""2024-1-1""#]),
        Case(
            #"{"type":"string","format":"time"}"#, [#""23:59:59Z""#, #""00:00:00.123+01:30""#], [#""24:00:00Z""#, #""12:00:00""#]),
        Case(
            #"{"type":"string","format":"date-time"}"#, [#""2024-05-06T07:08:09Z""#],
            [#""2024-05-06 07:08:09Z""#, #""2024-05-06""#]),
        Case(
            #"{"type":"string","format":"duration"}"#, [#""P1Y2M3DT4H5M6S""#, #""PT30S""#, #""P2W""#],
            [#""P""#, #""P1YT""#, #""1D""#]),
        Case(
            #"{"type":"string","format":"uuid"}"#, [#""123e4567-e89b-12d3-a456-426614174000""#],
            [#""123e4567e89b12d3a456426614174000""#]),
        Case(
            #"{"type":"string","format":"email"}"#, [#""a.b+c@example.org""#],
            [#""a@b""#, #""@example.org""#, #""a..b@example.org""#]),
        Case(#"{"type":"string","format":"ipv4"}"#, [#""255.0.10.199""#], [#""256.0.0.1""#, #""1.2.3""#, #""01.2.3.4""#]),
        Case(
            #"{"type":"string","format":"ipv6"}"#,
            [#""::""#, #""::1""#, #""2001:db8::ff00:42:8329""#, #""1:2:3:4:5:6:7:8""#, #""::ffff:1.2.3.4""#, #""1::""#],
            [#""1:2:3""#, #""1:2:3:4:5:6:7:8:9""#, #""1::2::3""#, #"":::""#]),
        Case(#"{"type":"string","format":"hostname"}"#, [#""a-b.example""#], [#""-a""#, #""a..b""#]),
        Case(
            #"{"type":"string","format":"uri"}"#, [#""https://example.org/a?b=c#d""#, #""mailto:x@y""#],
            [#""no scheme""#, #""http:""#]),
        Case(#"{"type":"string","format":"password"}"#, [#""x y""#], ["1"]),
        // Numbers.
        Case(#"{"type":"integer","minimum":0,"maximum":10}"#, ["0", "9", "10"], ["-1", "11", "100", "00"]),
        Case(#"{"type":"integer","exclusiveMinimum":-5,"exclusiveMaximum":5}"#, ["-4", "0", "4"], ["-5", "5", "-10"]),
        Case(
            #"{"type":"integer","minimum":-120,"maximum":-15}"#, ["-120", "-99", "-15", "-20"], ["-121", "-14", "0", "15", "-9"]),
        Case(#"{"type":"integer","minimum":1.5}"#, ["2", "10"], ["1", "0"]),
        Case(#"{"type":"integer","maximum":199}"#, ["199", "-1000", "0", "99"], ["200", "1000"]),
        Case(
            #"{"type":"integer","format":"int64"}"#, ["9223372036854775807", "-9223372036854775808"],
            ["9223372036854775808", "-9223372036854775809"]),
        Case(#"{"type":"integer","minimum":0,"exclusiveMinimum":true}"#, ["1"], ["0", "-1"]),
        Case(
            #"{"type":"number","minimum":0,"maximum":1}"#, ["0", "0.5", "1", "1.00", "0.999", "-0", "-0.0"],
            ["1.01", "-0.1", "2", "1e-1"]),
        Case(#"{"type":"number","exclusiveMinimum":0}"#, ["0.001", "1", "10.5"], ["0", "0.000", "-1", "-0"]),
        Case(#"{"type":"number","exclusiveMaximum":0}"#, ["-0.001", "-1"], ["0", "-0", "-0.0", "1"]),
        Case(
            #"{"type":"number","minimum":-2.75,"exclusiveMaximum":3.5}"#, ["-2.75", "-2.7", "3.49999", "0", "-1.999", "3"],
            ["-2.76", "-3", "3.5", "3.50", "4"]),
        Case(#"{"type":"number","minimum":1e-3,"maximum":2.5e2}"#, ["0.001", "250", "249.99"], ["0.0009", "250.1", "0"]),
        Case(#"{"minimum":3}"#, ["3"], ["2", #""x""#]),
        Case(#"{"type":"integer","multipleOf":1}"#, ["3"], ["3.5"]),
        Case(#"{"type":["integer","string"],"minimum":3,"maxLength":1}"#, ["3", #""a""#], ["2", #""ab""#]),
    ]

    @Test(arguments: cases) func acceptsAndRejects(_ test: Case) throws {
        for text in test.valid { #expect(try allows(.jsonSchema(test.schema), text), "must allow \(text)") }
        for text in test.invalid { #expect(try !allows(.jsonSchema(test.schema), text), "must refuse \(text)") }
    }

    @Test(arguments: [
        (#"{"type":"strin"}"#, "#/type", "must be one of"),
        (#"{"type":"object","properties":{"a":{"not":{}}}}"#, "#/properties/a/not", "say which values"),
        (#"{"properties":{"a/b":{"if":true}}}"#, "#/properties/a~1b/if", "anyOf"),
        (#"{"type":"array","uniqueItems":true}"#, "#/uniqueItems", "cannot be held"),
        (#"{"type":"integer","multipleOf":3}"#, "#/multipleOf", "cannot be held"),
        (#"{"minLenght":3}"#, "#/minLenght", "spelling"),
        (#"{"type":"string","format":"color"}"#, "#/format", "not supported"),
        (#"{"$ref":"http://example.org/x"}"#, "#/$ref", "outside"),
        (##"{"$ref":"#/$defs/none"}"##, "#/$ref", "leads nowhere"),
        (##"{"$ref":"#"}"##, "#", "refers to itself"),
        (##"{"anyOf":[{"$ref":"#"},{"type":"null"}]}"##, "#/anyOf/0", "begin with itself"),
        (#"{"anyOf":[]}"#, "#/anyOf", "not empty"),
        (#"{"allOf":[{"type":"string"},{"type":"null"}]}"#, "#", "no type"),
        (#"{"type":"string","enum":[1]}"#, "#/enum", "none of the values"),
        (#"{"type":"string","enum":["a"],"pattern":"a"}"#, "#/pattern", "enum"),
        (#"{"type":"integer","minimum":5,"maximum":4}"#, "#", "no text"),
        (#"{"type":"string","minLength":3,"maxLength":2}"#, "#", "minLength"),
        (#"{"type":"string","maxLength":99999999}"#, "#/maxLength", "counts up to"),
        (#"{"type":"string","minLength":-1}"#, "#/minLength", "count"),
        (#"{"type":"string","pattern":"a(?=b)"}"#, "#/pattern:4", "lookaround"),
        (#"{"type":"array","prefixItems":[true],"minItems":2}"#, "#", "prefixItems"),
        (#"{"properties":{"a":false},"required":["a"]}"#, "#/required", "forbidden"),
        (#"{"properties":{"a":{},"b":{}},"minProperties":1}"#, "#/minProperties", "counts"),
        (#"{"type":"object","patternProperties":{"a":{}}}"#, "#/patternProperties", "additionalProperties"),
        (#"{"type":"object","properties":[]}"#, "#/properties", "object"),
        (#"{"type":"object","properties":{"a":1}}"#, "#/properties/a", "a schema is"),
        (##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next"]}"##, "#", "no text"),
        ("[1", "#", "not JSON"),
        ("3", "#", "a schema is"),
        ("false", "#", "no text"),
    ])
    func refusesWithPath(_ schema: String, _ path: String, _ words: String) throws {
        let error = try #require(failure(.jsonSchema(schema)), "\(schema) was compiled")
        #expect(error.location == path, "\(error)")
        #expect(error.message.contains(words), "\(error)")
    }

    @Test func whiteSpaceIsBounded() throws {
        let schema = #"{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}},"required":["a"]}"#
        let tight = #"{"a":[1,2]}"#
        #expect(try allows(.jsonSchema(schema), tight, whitespace: .compact))
        #expect(try allows(.jsonSchema(schema), tight))
        for spaced in [#"{"a": [1, 2]}"#, #"{ "a":[ 1,2 ] }"#, "{\n  \"a\": [\n    1,\n    2\n  ]\n}", "{\n\t\"a\": [1]\n}"] {
            #expect(try allows(.jsonSchema(schema), spaced), "\(spaced)")
            #expect(try !allows(.jsonSchema(schema), spaced, whitespace: .compact), "\(spaced)")
        }
        for loose in [
            #"{"a":  [1,2]}"#, #" {"a":[1]}"#, #"{"a":[1]} "#, "{\n\n\"a\":[1]}",
            "{" + String(repeating: " ", count: 2) + "\"a\":[1]}",
        ] {
            #expect(try !allows(.jsonSchema(schema), loose), "\(loose)")
        }
        // However a text is continued with blanks alone, they run out.
        var matcher = try Vocabularies.compiler.compile(.jsonObject).makeMatcher()
        matcher.take("{")
        var blanks = 0
        while let blank = [" ", "\n", "\t"].first(where: { matcher.accept(bytes: $0.utf8) }) {
            blanks += blank.utf8.count
            guard blanks < 1000 else { break }
        }
        #expect(blanks <= 1 + GuidanceWhitespace.maxIndent)
    }

    @Test func anyObject() throws {
        for good in ["{}", #"{"a":{"b":[1,2,{"c":"d"}]},"e":-1.5e3}"#] { #expect(try allows(.jsonObject, good)) }
        for bad in ["[]", "1", "{a:1}", #"{"a":1,}"#, #"{"a":1}}"#] { #expect(try !allows(.jsonObject, bad)) }
    }
}
