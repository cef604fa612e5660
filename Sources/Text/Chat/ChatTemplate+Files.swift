import Foundation
import JSON

extension ChatTemplate {
    /// Finds the chat template of a checkpoint as transformers 5.17.0 does; nil when it has none.
    ///
    /// A checkpoint with a processor (processor_config.json or preprocessor_config.json is there) is searched in the order
    /// of `ProcessorMixin.get_processor_dict`: `chat_template` in processor_config.json, the legacy chat_template.json,
    /// then chat_template.jinja with `additional_chat_templates/*.jinja`. Any other, and as a last resort one with a
    /// processor, is searched as `PreTrainedTokenizerBase._from_pretrained` does: the `.jinja` files, then `chat_template`
    /// in tokenizer_config.json, a string or a list of named templates.
    ///
    /// - Throws: `JSONError` for an unreadable file, `JinjaError` for a template with a syntax error or of a wrong form.
    package static func load(folder: String) throws -> ChatTemplate? {
        let files = TemplateFiles(folder: folder)
        let isProcessor = files.exists("processor_config.json") || files.exists("preprocessor_config.json")
        let sources = try isProcessor ? files.ofProcessor() ?? files.ofTokenizer() : files.ofTokenizer()
        return try sources.map {
            try ChatTemplate(sources: $0, specialTokens: files.specialTokens(), isProcessor: isProcessor)
        }
    }
}

/// The files of a checkpoint that can hold templates.
private struct TemplateFiles {
    typealias Sources = [(name: String, source: String, file: String)]

    let folder: String

    private static let additional = "additional_chat_templates"

    func path(_ name: String) -> String { folder + "/" + name }

    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

    func ofProcessor() throws -> Sources? {
        if let sources = try member(of: "processor_config.json") { return sources }
        if exists("chat_template.json") {
            guard !exists(Self.additional) else {
                throw fault(
                    "chat_template.json",
                    "cannot stand beside \(Self.additional)/; rename its template to chat_template.jinja")
            }
            let value = try JSONValue(contentsOf: path("chat_template.json"))
            guard value["chat_template"] != nil else {
                throw fault("chat_template.json", "has no member chat_template")
            }
            return try sources(value["chat_template"] ?? .null, file: "chat_template.json")
        }
        return try jinjaFiles()
    }

    func ofTokenizer() throws -> Sources? { try jinjaFiles() ?? member(of: "tokenizer_config.json") }

    /// `chat_template` of a JSON file; nil when the file or the member is absent or null.
    private func member(of file: String) throws -> Sources? {
        guard exists(file) else { return nil }
        return try sources(JSONValue(contentsOf: path(file))["chat_template"] ?? .null, file: file)
    }

    /// A template, an object of named templates, or a list of `{"name": ..., "template": ...}`.
    private func sources(_ value: JSONValue, file: String) throws -> Sources? {
        switch value {
        case .null:
            return nil
        case .string(let source):
            return [(ChatTemplate.defaultName, source, path(file))]
        case .object(let object):
            return try object.map { name, value in
                guard let source = value.stringValue else { throw fault(file, "chat_template.\(name) is no string") }
                return (name, source, "\(path(file)) (\(name))")
            }
        case .array(let list):
            return try list.enumerated().map { at, item in
                guard let name = item["name"]?.stringValue, let source = item["template"]?.stringValue else {
                    throw fault(file, "chat_template[\(at)] must have a name and a template")
                }
                return (name, source, "\(path(file)) (\(name))")
            }
        default:
            throw fault(file, "chat_template must be a string or a list of named templates")
        }
    }

    private func jinjaFiles() throws -> Sources? {
        var sources: Sources = []
        if exists("chat_template.jinja") {
            sources.append((ChatTemplate.defaultName, try text("chat_template.jinja"), path("chat_template.jinja")))
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path(Self.additional))) ?? []
        for file in names.sorted() where file.hasSuffix(".jinja") {
            let name = "\(Self.additional)/\(file)"
            sources.append((String(file.dropLast(".jinja".count)), try text(name), path(name)))
        }
        return sources.isEmpty ? nil : sources
    }

    private func text(_ name: String) throws -> String {
        let bytes = try readFile(path(name))
        guard let text = String(validating: bytes, as: UTF8.self) else { throw fault(name, "is not UTF-8 text") }
        return text
    }

    /// The special tokens that tokenizer_config.json names, each a string or an added token's object.
    func specialTokens() throws -> JSONObject {
        var tokens = JSONObject()
        guard exists("tokenizer_config.json") else { return tokens }
        let config = try JSONValue(contentsOf: path("tokenizer_config.json"))
        let standard = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
        func add(_ name: String, _ value: JSONValue?) {
            if let token = value?.stringValue ?? value?["content"]?.stringValue { tokens[name] = .string(token) }
        }
        for name in standard { add(name, config[name]) }
        // Processors' tokenizers name further ones, such as image_token.
        for (name, value) in config["extra_special_tokens"]?.objectValue ?? [:] { add(name, value) }
        return tokens
    }

    private func fault(_ file: String, _ message: String) -> JinjaError {
        JinjaError(kind: .runtime, template: path(file), line: 0, message: message)
    }
}
