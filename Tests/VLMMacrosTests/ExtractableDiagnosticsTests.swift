import SwiftSyntaxBuilder
import SwiftSyntaxMacroExpansion
import SwiftSyntaxMacrosGenericTestSupport
import Testing
import VLMMacroPlugin

/// What the macro says about code that it cannot make sense of, and how its fix-its mend it.
struct ExtractableDiagnosticsTests {
    private func check(
        _ source: String, _ line: Int, _ column: Int, _ message: String, fix: String? = nil, fixed: String? = nil,
        expansion: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let specification = DiagnosticSpec(
            message: message, line: line, column: column, fixIts: fix.map { [FixItSpec(message: $0)] } ?? [])
        // A type at fault gets its conformance all the same, so that the compiler does not complain about that, too.
        let isConforming = source.contains("struct S") || source.contains("enum E")
        let bare = source.replacing("@Extractable\n", with: "").split(separator: "\n", omittingEmptySubsequences: false).map {
            line in
            line.replacing(#/@Field(\([^()]*\))? /#, with: "")
        }.joined(separator: "\n")
        let expanded =
            expansion ?? bare + (isConforming ? "\n\nextension \(source.contains("enum E") ? "E" : "S"): Extractable {\n}" : "")
        assertMacroExpansion(
            source, expandedSource: expanded, diagnostics: [specification],
            macroSpecs: [
                "Extractable": MacroSpec(type: ExtractableMacro.self, conformances: ["Extractable"]),
                "Field": MacroSpec(type: FieldMacro.self),
            ],
            applyFixIts: fix.map { [$0] }, fixedSource: fixed,
            failureHandler: { Issue.record(Comment(rawValue: $0.message), sourceLocation: sourceLocation) })
    }

    private func check(
        field: String, column: Int, _ message: String, fix: String? = nil, fixed: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        func whole(_ field: String) -> String { "@Extractable\nstruct S {\n    \(field)\n}" }
        check(
            whole(field), 3, column, message, fix: fix, fixed: fixed.map(whole), sourceLocation: sourceLocation)
    }

    @Test func typesThatCannotBeRead() {
        check(
            "@Extractable\nclass C {\n    let a: Int\n}", 2, 1,
            "'@Extractable' is for structures, and for enumerations with raw values, not for a class", fix: "use 'struct'",
            fixed: "@Extractable\nstruct C {\n    let a: Int\n}")
        check(
            "@Extractable\nactor C {\n    let a: Int\n}", 2, 1,
            "'@Extractable' is for structures, and for enumerations with raw values, not for an actor", fix: "use 'struct'",
            fixed: "@Extractable\nstruct C {\n    let a: Int\n}")
        check("@Extractable\nstruct S {\n}", 2, 8, "'S' has no stored properties to read")
        check("@Extractable\nstruct S {\n    var a: Int {\n        1\n    }\n}", 2, 8, "'S' has no stored properties to read")
    }

    @Test func enumerationsNeedTexts() {
        check(
            "@Extractable\nenum E {\n    case a\n}", 2, 6, "'E' needs raw values, which are what the model writes",
            fix: "add ': String'",
            fixed: "@Extractable\nenum E: String {\n    case a\n}")
        check(
            "@Extractable\nenum E: Sendable {\n    case a\n}", 2, 6, "'E' needs raw values, which are what the model writes",
            fix: "add ': String'", fixed: "@Extractable\nenum E: String, Sendable {\n    case a\n}")
        check(
            "@Extractable\nenum E: Double {\n    case a\n}", 2, 9, "raw values of 'E' must be String or Int", fix: "use 'String'",
            fixed: "@Extractable\nenum E: String {\n    case a\n}")
        check("@Extractable\nenum E: String {\n}", 2, 6, "'E' has no cases to choose from")
        check(
            "@Extractable\nenum E {\n    case a(Int)\n}", 3, 10,
            "'a' holds values, and an answer is one of a list of constants; use a structure with optional properties")
    }

    @Test func propertiesNeedTypes() {
        check(
            field: "var a = 1", column: 9, "'@Extractable' needs to see the type of 'a'", fix: "write ': Int'",
            fixed: "var a: Int = 1")
        check(
            field: "var a = [true]", column: 9, "'@Extractable' needs to see the type of 'a'", fix: "write ': [Bool]'",
            fixed: "var a: [Bool] = [true]")
        check(
            field: "var a = make()", column: 9, "'@Extractable' needs to see the type of 'a'", fix: "write ': Type'",
            fixed: "var a: <#Type#> = make()")
        check(field: "let (a, b): (Int, Int)", column: 9, "a field has one name; declare the properties one by one")
        check(field: "lazy var a: Int = 1", column: 5, "a lazy property is computed, not read; make it a computed one")
        check(
            "@Extractable\nstruct S {\n    #if DEBUG\n    let a: Int\n    #endif\n}", 3, 5,
            "'@Extractable' does not see properties inside '#if'; put the whole structure inside")
    }

    @Test func unsupportedTypes() {
        check(
            field: "let a: Set<Int>", column: 12,
            "'Set<Int>' cannot be read from an answer: an answer may name an element twice, so a set cannot hold it; use an array",
            fix: "use '[Int]'", fixed: "let a: [Int]")
        check(
            field: "let a: [Character]?", column: 13, "'Character' cannot be read from an answer: it has no schema; use String",
            fix: "use 'String'", fixed: "let a: [String]?")
        check(
            field: "let a: [Int: Bool]", column: 12,
            "'[Int: Bool]' cannot be read from an answer: names in an answer are texts; use String as the key",
            fix: "use '[String: Bool]'", fixed: "let a: [String: Bool]")
        check(
            field: "let a: (Int, Int)", column: 12,
            "'(Int, Int)' cannot be read from an answer: a tuple has no schema; use a structure with @Extractable")
        check(
            field: "let a: any Codable", column: 12,
            "'any Codable' cannot be read from an answer: the schema needs a concrete type")
        check(
            field: "let a: Foundation.Data", column: 12,
            "'Foundation.Data' cannot be read from an answer: an answer is text, not bytes")
        check(
            field: "let a: () -> Int", column: 12,
            "'() -> Int' cannot be read from an answer: a function cannot be read from an answer")
        check(
            field: "var a: Int!", column: 12, "'Int!' cannot be read from an answer: a value that may be missing is an optional",
            fix: "use 'Int?'", fixed: "var a: Int?")
    }

    @Test func limitsMustSuitTheType() {
        check(
            field: "@Field(range: 1...5) let a: String", column: 12, "a range limits numbers, and 'a' is String",
            fix: "use 'count:'",
            fixed: "@Field(count: 1...5) let a: String")
        check(
            field: #"@Field("x", count: 1...5) let a: Int?"#, column: 17, "a count limits texts and lists, and 'a' is Int?",
            fix: "use 'range:'", fixed: #"@Field("x", range: 1...5) let a: Int?"#)
        check(field: "@Field(count: 5) let a: Double", column: 12, "a count limits texts and lists, and 'a' is Double")
        check(field: "@Field(range: 1...5) let a: Bool", column: 12, "a range limits numbers, and 'a' is Bool")
        check(field: "@Field(count: 1...5) let a: Date", column: 12, "a count limits texts and lists, and 'a' is Date")
        check(field: #"@Field(pattern: "a") let a: [Int]"#, column: 12, "a pattern limits texts, and 'a' is [Int]")
    }

    @Test func limitsMustMakeSense() {
        check(
            field: "@Field(range: 0..<10) let a: Int", column: 20, "limits are inclusive; a half-open range is none",
            fix: "use '...' and 9", fixed: "@Field(range: 0...9) let a: Int")
        check(
            field: "@Field(range: ..<limit) let a: Int", column: 19, "limits are inclusive; a half-open range is none",
            fix: "use '...'", fixed: "@Field(range: ...limit) let a: Int")
        check(field: "@Field(range: 5...1.5) let a: Double", column: 19, "no value is from 5 to 1.5")
        check(field: "@Field(count: -1) let a: String", column: 19, "a count cannot be negative")
        check(field: "@Field(count: -3...3) let a: String", column: 19, "a count cannot be negative")
    }

    @Test func fieldsStandWhereTheyMeanSomething() {
        check(
            field: #"@Field("a") @Field("b") let a: Int"#, column: 17,
            "a property has one '@Field'; put everything about it into the first", fix: "remove this one",
            fixed: #"@Field("a") let a: Int"#)
        let remove = "remove '@Field'"
        check(
            #"struct S {\#n    @Field("a") let a: Int\#n}"#, 2, 5,
            "'@Field' means nothing outside of a structure with '@Extractable'", fix: remove,
            fixed: "struct S {\n    let a: Int\n}", expansion: "struct S {\n    let a: Int\n}")
        check(
            #"struct S {\#n    @Field("a") var a: Int { 1 }\#n}"#, 2, 5,
            "'@Field' describes a stored property, and this one is computed", fix: remove,
            fixed: "struct S {\n    var a: Int { 1 }\n}", expansion: "struct S {\n    var a: Int { 1 }\n}")
        check(
            #"struct S {\#n    @Field("a") static let a: Int\#n}"#, 2, 5,
            "'@Field' describes a stored property, and this one belongs to the type", fix: remove,
            fixed: "struct S {\n    static let a: Int\n}", expansion: "struct S {\n    static let a: Int\n}")
        check(
            #"struct S {\#n    @Field("a") let a: Int = 1\#n}"#, 2, 5,
            "'@Field' describes a property that is read, and this one has its value already", fix: remove,
            fixed: "struct S {\n    let a: Int = 1\n}", expansion: "struct S {\n    let a: Int = 1\n}")
        check(
            #"struct S {\#n    @Field("a") func a() {}\#n}"#, 2, 5, "'@Field' describes a stored property", fix: remove,
            fixed: "struct S {\n    func a() {}\n}", expansion: "struct S {\n    func a() {}\n}")
    }
}
