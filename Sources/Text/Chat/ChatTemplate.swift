package import JSON

/// The chat template of a model: turns a conversation into the text that the model was trained on.
package struct ChatTemplate: Sendable {
    /// The templates `default` and `tool_use`, the only ones that are chosen without being named.
    private let templates: [String: JinjaTemplate]
    /// All names the checkpoint has templates for.
    private let names: [String]
    /// `bos_token` and the like, as the checkpoint's tokenizer_config.json names them.
    private let specialTokens: JSONObject
    /// Whether the model is used through a processor, which ignores `tool_use`.
    private let isProcessor: Bool
    /// Whether a message's content may be a plain string. Templates of some families (LLaVA, SmolVLM) read only lists of
    /// parts and would silently drop it.
    package let acceptsText: Bool

    /// - Parameter name: what errors call the template, usually its file.
    /// - Throws: `JinjaError` for a syntax error, with its line.
    package init(source: String, name: String) throws(JinjaError) {
        try self.init(sources: [(Self.defaultName, source, name)], specialTokens: JSONObject(), isProcessor: false)
    }

    init(
        sources: [(name: String, source: String, file: String)], specialTokens: JSONObject, isProcessor: Bool
    ) throws(JinjaError) {
        var templates: [String: JinjaTemplate] = [:]
        for (name, source, file) in sources where name == Self.defaultName || name == Self.toolName {
            templates[name] = try JinjaTemplate(source: source, name: file)
        }
        self.templates = templates
        names = sources.map(\.name).sorted()
        self.specialTokens = specialTokens
        self.isProcessor = isProcessor
        acceptsText = Self.probe(templates[Self.defaultName], specialTokens)
    }

    static let defaultName = "default"
    private static let toolName = "tool_use"

    /// Renders a conversation.
    ///
    /// - Parameters:
    ///   - messages: objects with `role` and `content`, a string or a list of parts such as `{"type": "image"}` and
    ///     `{"type": "text", "text": ...}`; OpenAI's `image_url` parts are read as images, as transformers' processors do.
    ///   - tools: JSON schemas of functions. Like transformers this passes `none`, so that `tools` is defined, when absent.
    ///   - specialTokens: tokens by name, such as `bos_token`; they replace those of the checkpoint's files.
    ///   - extra: more variables, such as `enable_thinking`; they replace special tokens of the same name.
    /// - Throws: `JinjaError` with the line, also for a conversation that the template refuses.
    package func render(
        messages: [JSONValue], addGenerationPrompt: Bool, tools: JSONValue = .null, documents: JSONValue = .null,
        specialTokens: [String: String] = [:], extra: [String: JSONValue] = [:]
    ) throws(JinjaError) -> String {
        var variables = self.specialTokens
        for (name, token) in specialTokens { variables[name] = .string(token) }
        for (name, value) in extra { variables[name] = value }
        variables["messages"] = .array(messages.map(Self.withImageParts))
        variables["tools"] = tools
        variables["documents"] = documents
        variables["add_generation_prompt"] = .bool(addGenerationPrompt)
        return try template(withTools: !tools.isNull).render(variables)
    }

    private func template(withTools: Bool) throws(JinjaError) -> JinjaTemplate {
        if withTools, !isProcessor, let template = templates[Self.toolName] { return template }
        if let template = templates[Self.defaultName] { return template }
        throw JinjaError(
            kind: .runtime, template: "chat template", line: 0,
            message:
                "the checkpoint has several templates (\(names.joined(separator: ", "))) and none is called default; give one as a file"
        )
    }

    /// OpenAI's `{"type": "image_url", ...}` as transformers' `{"type": "image", "url": ...}`.
    private static func withImageParts(_ message: JSONValue) -> JSONValue {
        guard case .object(var object) = message, let parts = object["content"]?.arrayValue else { return message }
        object["content"] = .array(
            parts.map { part in
                guard part["type"]?.stringValue == "image_url", let image = part["image_url"] else { return part }
                let url = image.objectValue.map { $0["url"] ?? .string("") } ?? image
                return .object(JSONObject([("type", .string("image")), ("url", url)]))
            })
        return .object(object)
    }

    /// Finds out by trying whether a message given as a string comes out in the text.
    private static func probe(_ template: JinjaTemplate?, _ specialTokens: JSONObject) -> Bool {
        let mark = "text-or-parts"
        func shows(_ content: JSONValue) -> Bool {
            var variables = specialTokens
            variables["messages"] = [["role": "user", "content": content]]
            variables["tools"] = .null
            variables["documents"] = .null
            variables["add_generation_prompt"] = true
            return ((try? template?.render(variables)) ?? "").contains(mark)
        }
        return shows(.string(mark)) || !shows([["type": "text", "text": .string(mark)]])
    }
}
