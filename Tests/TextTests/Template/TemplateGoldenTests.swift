import JSON
import TestKit
import Testing
import Text

/// Every feature of the template language against jinja2, through transformers' own environment.
/// Goldens: `Tools/goldens/templates/generate.py`.
struct TemplateGoldenTests {
    /// The outcome of one golden case.
    struct Case: Sendable, CustomTestStringConvertible {
        let template: String
        let context: JSONObject
        let output: String?
        let error: String?
        let message: String

        var testDescription: String { template }
    }

    private static func snippets() throws -> [Case] {
        let file = try Fixtures.json("templates/snippets.json")
        return (file["cases"]?.arrayValue ?? []).map { value in
            let context = value["context"]?.stringValue ?? ""
            return Case(
                template: value["template"]?.stringValue ?? "", context: file["contexts"]?[context]?.objectValue ?? [:],
                output: value["output"]?.stringValue, error: value["error"]?.stringValue,
                message: value["message"]?.stringValue ?? "")
        }
    }

    @Test func snippetsRenderAsJinja2() throws {
        let cases = try Self.snippets()
        #expect(cases.count > 500)
        for item in cases {
            do throws(JinjaError) {
                let text = try JinjaTemplate(source: item.template, name: "snippet").render(item.context)
                if let output = item.output {
                    #expect(text.hasSameBytes(as: output), "\(item.template)\n got \(text)\nwant \(output)")
                } else {
                    Issue.record("\(item.template)\n got \(text)\nwant an error: \(item.message)")
                }
            } catch {
                if let output = item.output {
                    Issue.record("\(item.template)\n got \(error)\nwant \(output)")
                } else {
                    Self.check(error, against: item)
                }
            }
        }
    }

    /// Python's classes of exception map to kinds; what differs on purpose is listed here.
    private static func check(_ error: JinjaError, against item: Case) {
        let expected = JinjaError.Kind(reference: item.error ?? "")
        let isLimit = error.kind == .limit && expected == .runtime
        let isInclude = error.kind == .unsupported && item.template.contains("'x'")
        #expect(
            error.kind == expected || isLimit || isInclude,
            "\(item.template)\n got \(error)\nwant \(item.error ?? ""): \(item.message)")
        if expected == .undefined || expected == .raised {
            #expect(error.message == item.message, "\(item.template)")
        }
    }
}
