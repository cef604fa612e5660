import SwiftSyntaxBuilder
import SwiftSyntaxMacroExpansion
import SwiftSyntaxMacrosGenericTestSupport
import Testing
import VLMMacroPlugin

/// The code that the macro writes.
struct ExtractableExpansionTests {
    private func expect(_ source: String, _ expanded: String, sourceLocation: SourceLocation = #_sourceLocation) {
        assertMacroExpansion(
            source, expandedSource: expanded,
            macroSpecs: [
                "Extractable": MacroSpec(type: ExtractableMacro.self, conformances: ["Extractable"]),
                "Field": MacroSpec(type: FieldMacro.self),
            ],
            failureHandler: { Issue.record(Comment(rawValue: $0.message), sourceLocation: sourceLocation) })
    }

    @Test func aStructure() {
        expect(
            """
            @Extractable("A receipt")
            public struct Receipt {
                @Field("Name of the shop", count: 1...80) public let shop: String
                @Field(nil, range: 0...) let total: Double?
                let lines: [Line], pages, sheets: Int
                private(set) var note: String
                let version = 1
                static let limit = 5
                var isLarge: Bool { (total ?? 0) > 100 }
            }
            """,
            """
            public struct Receipt {
                public let shop: String
                let total: Double?
                let lines: [Line], pages, sheets: Int
                private(set) var note: String
                let version = 1
                static let limit = 5
                var isLarge: Bool { (total ?? 0) > 100 }

                public struct Partial: Decodable, Sendable {
                    public var shop: String.Partial?
                    var total: Double.Partial?
                    var lines: [Line].Partial?
                    var pages: Int.Partial?
                    var sheets: Int.Partial?
                    var note: String.Partial?

                    public init() {
                    }
                }

                public static var schema: ExtractionSchema {
                    .object(Self.self, "A receipt", [
                            .property("shop", String.self, "Name of the shop", .count(1 ... 80)),
                            .property("total", Double?.self, .range(0...)),
                            .property("lines", [Line].self),
                            .property("pages", Int.self),
                            .property("sheets", Int.self),
                            .property("note", String.self)
                        ])
                }
            }

            extension Receipt: Extractable {
            }
            """)
    }

    @Test func codingKeysGiveTheNames() {
        expect(
            """
            extension Shop {
                @Extractable
                struct Item {
                    let unitPrice: Int
                    var note = ""
                    enum CodingKeys: String, CodingKey {
                        case unitPrice = "unit_price"
                    }
                }
            }
            """,
            """
            extension Shop {
                struct Item {
                    let unitPrice: Int
                    var note = ""
                    enum CodingKeys: String, CodingKey {
                        case unitPrice = "unit_price"
                    }

                    struct Partial: Decodable, Sendable {
                        var unitPrice: Int.Partial?

                        init() {
                        }

                        private enum CodingKeys: String, CodingKey {
                            case unitPrice = "unit_price"
                        }
                    }

                    static var schema: ExtractionSchema {
                        .object(Self.self, nil, [
                                .property("unit_price", Int.self)
                            ])
                    }
                }
            }

            extension Shop.Item: Extractable {
            }
            """)
    }

    @Test func whatIsThereAlreadyIsKept() {
        expect(
            """
            public extension Shop {
                @Extractable("x")
                enum Kind: String {
                    case a, `in`
                }
            }
            @Extractable
            struct Own {
                let a: Int
                typealias Partial = Own
            }
            """,
            """
            public extension Shop {
                enum Kind: String {
                    case a, `in`

                    public static var schema: ExtractionSchema {
                        .choices([Self.a.rawValue, Self.`in`.rawValue], "x")
                    }
                }
            }
            struct Own {
                let a: Int
                typealias Partial = Own

                static var schema: ExtractionSchema {
                    .object(Self.self, nil, [
                            .property("a", Int.self)
                        ])
                }
            }

            extension Shop.Kind: Extractable {
            }

            extension Own: Extractable {
            }
            """)
    }
}
