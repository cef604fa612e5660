import JSON
import TestKit
import Testing
import Text

/// Chat templates, conversations, and what transformers' `render_jinja_template` makes of each pair: the files that
/// `Tools/goldens/templates/generate.py` and `real.py` write.
struct ChatGolden {
    struct Case {
        let template: String
        let conversation: String
        /// The text, or nil where rendering is an error of the kind `error` with the message `message`.
        let output: String?
        let error: JinjaError.Kind?
        let message: String?
    }

    /// Sources by name.
    let templates: [String: String]
    let cases: [Case]
    private let conversations: JSONObject
    private let specialTokens: [String: String]
    /// The day of rendering, as ISO 8601 writes it, in files that are not checked in: templates may print it.
    private let day: String?

    init(_ file: JSONValue) {
        func strings(_ key: String) -> [String: String] {
            (file[key]?.objectValue ?? [:]).reduce(into: [:]) { $0[$1.key] = $1.value.stringValue }
        }
        templates = strings("templates")
        specialTokens = strings("special_tokens")
        conversations = file["conversations"]?.objectValue ?? [:]
        day = file["today"]?.stringValue
        cases = (file["cases"]?.arrayValue ?? []).map { item in
            Case(
                template: item["template"]?.stringValue ?? "", conversation: item["conversation"]?.stringValue ?? "",
                output: item["output"]?.stringValue, error: (item["error"]?.stringValue).map(JinjaError.Kind.init(reference:)),
                message: item["message"]?.stringValue)
        }
    }

    /// Every template compiled once.
    func compiled() throws -> [String: ChatTemplate] {
        var result: [String: ChatTemplate] = [:]
        for (name, source) in templates { result[name] = try ChatTemplate(source: source, name: name) }
        return result
    }

    /// Renders every case and records each that differs: the bytes of the text, or the kind of error, with its message where
    /// the template's author wrote it.
    func check() throws {
        let compiled = try compiled()
        for item in cases {
            let template = try #require(compiled[item.template])
            let label = "\(item.template), \(item.conversation)"
            do throws(JinjaError) {
                let text = try render(item.conversation, with: template)
                guard let output = item.output else {
                    Issue.record("\(label)\n got \(text)\nwant the error \(item.message ?? "")")
                    continue
                }
                let isSame = text.hasSameBytes(as: output)
                #expect(isSame || mayBeStale(item.template), "\(label)\n got \(text)\nwant \(output)")
            } catch {
                #expect(error.kind == item.error, "\(label)\n got \(error)\nwant \(item.output ?? item.message ?? "")")
                if error.kind == .raised { #expect(error.message == item.message, "\(label)") }
            }
        }
    }

    private func render(_ conversation: String, with template: ChatTemplate) throws(JinjaError) -> String {
        let arguments = conversations[conversation]?.objectValue ?? [:]
        var extra: [String: JSONValue] = [:]
        for (key, value) in arguments
        where !["messages", "tools", "documents", "add_generation_prompt"].contains(key) {
            extra[key] = value
        }
        return try template.render(
            messages: arguments["messages"]?.arrayValue ?? [],
            addGenerationPrompt: arguments["add_generation_prompt"]?.boolValue ?? false, tools: arguments["tools"] ?? .null,
            documents: arguments["documents"] ?? .null, specialTokens: specialTokens, extra: extra)
    }

    /// Whether the reference printed yesterday's date: midnight fell between the fetch and this test.
    private func mayBeStale(_ template: String) -> Bool {
        guard let day, templates[template]?.contains("strftime_now") == true else { return false }
        let today = try? JinjaTemplate(source: "{{ strftime_now('%Y-%m-%d') }}", name: "today").render([:])
        return today != day
    }
}

extension JinjaError.Kind {
    /// The kind that a golden file's class of Python exception maps to.
    init(reference name: String) {
        switch name {
        case "syntax": self = .syntax
        case "undefined": self = .undefined
        case "raised": self = .raised
        default: self = .runtime
        }
    }
}
