import Checkpoints
import JSON
import Testing

@Suite struct ConfigReaderTests {
    private func reader(_ text: String) throws -> ConfigReader {
        try ConfigReader(parsing: Array(text.utf8), file: "config.json")
    }

    @Test func readsEveryType() throws {
        let reader = try reader(
            #"{"i":3,"f":4.0,"d":0.5,"b":true,"s":"x","l":[1,2],"m":[0.5,2],"n":null,"t":["a"],"o":{"p":{"q":9}}}"#)
        #expect(try reader.int("i") == 3)
        #expect(try reader.int("f") == 4)
        #expect(try reader.double("i") == 3)
        #expect(try reader.float("d") == 0.5)
        #expect(try reader.bool("b"))
        #expect(try reader.string("s") == "x")
        #expect(try reader.ints("l") == [1, 2])
        #expect(try reader.floats("m") == [0.5, 2])
        #expect(try reader.strings("t") == ["a"])
        #expect(try reader.object("o").object("p").int("q") == 9)
        #expect(try reader.intOrInts("i") == [3] && reader.intOrInts("l") == [1, 2] && reader.intOrInts("zz") == [])
        // null counts as absent
        #expect(!reader.has("n") && reader.isNull("n") && !reader.isNull("zz"))
        #expect(try reader.int("n", default: 7) == 7)
        #expect(try reader.objectIfPresent("n") == nil)
    }

    @Test func errorsNameFileAndPath() throws {
        let text = try reader(#"{"text_config":{"rope_scaling":{"factor":"two","n":null,"l":[1,"a"],"h":-4,"x":1.5}}}"#)
            .object("text_config").object("rope_scaling")
        func detail(_ body: () throws -> Void) throws -> String {
            let error = try #require(#expect(throws: CheckpointError.self) { try body() })
            #expect(error.kind == .invalidConfig && error.source == "config.json")
            return error.detail
        }
        #expect(
            try detail { _ = try text.double("factor") }
                == "text_config.rope_scaling.factor is the string \"two\", a number is needed")
        #expect(try detail { _ = try text.int("q") } == "text_config.rope_scaling.q is missing, an integer is needed")
        #expect(try detail { _ = try text.int("n") } == "text_config.rope_scaling.n is null, an integer is needed")
        #expect(try detail { _ = try text.int("x") }.contains("the number 1.5"))
        #expect(try detail { _ = try text.ints("l") }.contains("a list of integers is needed"))
        #expect(try detail { _ = try text.positive("h") }.contains("is -4, a positive integer is needed"))
        #expect(try detail { _ = try text.bool("h", default: true) }.contains("a boolean is needed"))
        #expect(try detail { _ = try text.object("h") }.contains("an object is needed"))
    }

    @Test func brokenFilesAreTypedErrors() throws {
        #expect(#expect(throws: CheckpointError.self) { try reader("[1]") }?.detail == "the root is a list, not an object")
        let error = try #require(#expect(throws: CheckpointError.self) { try reader("{\n  \"a\": }") })
        #expect(error.kind == .invalidConfig && error.detail.contains("line 2"), "\(error)")
        let missing = #expect(throws: CheckpointError.self) { try ConfigReader(contentsOf: "/no/such/config.json") }
        #expect(missing?.kind == .unreadable && missing?.source == "/no/such/config.json")
    }
}
