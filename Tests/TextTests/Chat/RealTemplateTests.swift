import JSON
import Testing
import Text

/// Chat templates that models publish, of Python packages that ship them, with every conversation of the goldens and more, against
/// transformers. `Tools/goldens/templates/real.py` wrote the reference.
@Suite(.enabled(if: RealPackages.templates != nil, RealPackages.skipped("real chat templates")))
struct RealTemplateTests {
    private static func golden() throws -> ChatGolden {
        ChatGolden(try JSONValue(contentsOf: try #require(RealPackages.templates)))
    }

    @Test func renderAsInTransformers() throws {
        let golden = try Self.golden()
        let names = golden.templates.keys
        for family in ["qwen", "llama3", "deepseek", "mistral"] where !names.contains(where: { $0.contains(family) }) {
            print("skipped: no chat template of \(family) was fetched")
        }
        #expect(!golden.templates.isEmpty && golden.cases.count > 25 * golden.templates.count)
        try golden.check()
        print("compared \(golden.cases.count) renderings of \(golden.templates.count) real chat templates")
    }

    /// Where the reference drops a message given as a string but shows its parts, messages must be given as parts.
    @Test func knowWhetherPlainTextIsShown() throws {
        let golden = try Self.golden()
        func shows(_ text: String, of conversation: String, _ template: String) -> Bool {
            golden.cases.contains {
                $0.template == template && $0.conversation == conversation && $0.output?.contains(text) ?? false
            }
        }
        for (name, template) in try golden.compiled() {
            let needsParts = !shows("Hello, 世界!", of: "one turn", name) && shows(" is it?", of: "parts", name)
            #expect(template.acceptsText == !needsParts, "\(name)")
        }
    }
}
