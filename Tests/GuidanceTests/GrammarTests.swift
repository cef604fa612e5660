import Guidance
import Testing

@Suite struct GrammarTests {
    @Test(
        arguments: [
            (#"root ::= "yes" | "no""#, ["yes", "no"], ["", "maybe"]),
            (
                "root ::= item (\",\" item)*  # a list\nitem ::= [a-z]+ | \"(\" root \")\"", ["a", "a,b", "(a,(b,c)),d"],
                ["", "a,", "(a"]
            ),
            (
                "root ::= expr\nexpr ::= term (op term)*\nterm ::= [0-9]+ | \"(\" expr \")\"\nop ::= [-+*/]", ["1", "1+2*(3-4)"],
                ["+", "(1"]
            ),
            ("root ::= \"a\" root \"b\" | \"\"", ["", "ab", "aaabbb"], ["a", "aab", "abb"]),
            // Ambiguous: two ways at every level.
            (
                "root ::= \"a\" root \"b\" | x\nx ::= \"a\" x \"c\" | \"!\"", ["!", "aa!cb", "aaa!cbb", "aaa!ccb"],
                ["aa!bc", "a!"]
            ),
            ("root ::= [^\"\\\\\\x00-\\x1F]{2,3} \"\\t\\u00e9\\\"\"", ["ab\té\"", "日本語\té\""], ["a\té\"", "a\"\té\""]),
            ("root ::=\n  \"a\"\n  | \"b\" [c-e]?\n  | .{2}", ["a", "bd", "🙂🙂"], ["aaa"]),
            (
                "root ::= a{2} b{1,2} c{,1} d{2,}\na ::= \"a\"\nb ::= \"b\"\nc ::= \"c\"\nd ::= \"d\"", ["aabdd", "aabbcddd"],
                ["abdd", "aabbbdd", "aabd"]
            ),
            (
                "root ::= ws value ws\nws ::= [ ]*\nvalue ::= \"[\" ws (value (ws \",\" ws value)*)? ws \"]\"", [" [ [],[ ] ] "],
                ["[", "[,]"]
            ),
        ] as [(String, [String], [String])])
    func acceptsAndRejects(_ grammar: String, _ good: [String], _ bad: [String]) throws {
        for text in good { #expect(try allows(.grammar(grammar), text), "must allow \(text.debugDescription)") }
        for text in bad { #expect(try !allows(.grammar(grammar), text), "must refuse \(text.debugDescription)") }
    }

    @Test(arguments: [
        ("start ::= \"a\"", "grammar", "'root'"), ("root ::= thing", "grammar:1:10", "no rule 'thing'"),
        ("root ::= \"a", "grammar:1:12", "no end"), ("root ::= (\"a\"", "grammar:1:11", "no end"),
        ("root ::= \"a\")", "grammar:1:13", "unmatched"),
        ("root ::= \"a\"\nroot ::= \"b\"", "grammar:2:1", "defined twice"),
        ("root ::= root \"a\" | \"b\"", "root", "left recursion"),
        ("root ::= a\na ::= b? c | b\nb ::= \"x\"\nc ::= a", "a", "left recursion"),
        ("root ::= \"a\" root", "grammar", "no text"),
        ("root ::= *", "grammar:1:10", "repeats nothing"), ("root ::= %", "grammar:1:11", "double quotes"),
        ("root = \"a\"", "grammar:1:7", "no meaning"),
        ("root ::= [z-a]", "grammar:1:14", "wrong way"), ("root ::= \"\\q\"", "grammar:1:13", "not known"),
        ("root ::= a{3,2}\na ::= \"a\"", "grammar:1:15", "wrong way"),
        ("", "grammar", "'root'"), ("root", "grammar:1:1", "::="),
    ])
    func refusesWithPosition(_ grammar: String, _ place: String, _ words: String) throws {
        let error = try #require(failure(.grammar(grammar)), "\(grammar) was compiled")
        #expect(error.location == place, "\(error)")
        #expect(error.message.contains(words), "\(error)")
    }
}
