import Foundation
import JSON
import TestKit
import Testing
import Text

/// Whole chat templates against transformers' `render_jinja_template`, and the search for a checkpoint's template.
struct ChatTemplateTests {
    /// `chats.json`: templates with the features of the published ones, each with every conversation.
    @Test func conversationsRenderAsInTransformers() throws {
        let golden = ChatGolden(try Fixtures.json("templates/chats.json"))
        #expect(golden.cases.count >= 250)
        try golden.check()
    }

    @Test func readsOpenAIImagePartsAsImages() throws {
        let template = try ChatTemplate(
            source: "{% for part in messages[0].content %}{{ part.type }}:{{ part.url or part.text }};{% endfor %}", name: "t")
        let message: JSONValue = [
            "role": "user",
            "content": [
                ["type": "image_url", "image_url": ["url": "a.png"]], ["type": "text", "text": "x"],
                ["type": "image_url", "image_url": "b.png"],
            ],
        ]
        #expect(try template.render(messages: [message], addGenerationPrompt: true) == "image:a.png;text:x;image:b.png;")
    }

    @Test func knowsWhichTemplatesDropPlainText() throws {
        let templates = try ChatGolden(try Fixtures.json("templates/chats.json")).compiled()
        let partsOnly = templates.filter { !$0.value.acceptsText }
        #expect(partsOnly.keys.sorted() == ["capitalised_parts", "generation_blocks"])
    }

    /// Both templates below see the same variables as transformers passes: absent tools are `none`, not undefined.
    @Test func absentToolsAreDefined() throws {
        let template = try ChatTemplate(
            source: "{{ tools is defined }} {{ tools is none }} {{ documents is none }} {{ bos_token is defined }}", name: "t")
        #expect(try template.render(messages: [], addGenerationPrompt: false) == "True True True False")
    }

    // MARK: files

    /// Which file wins, against transformers' AutoProcessor and AutoTokenizer.
    @Test func findsTheTemplateThatTransformersFinds() throws {
        let tool: JSONValue = [["type": "function"]]
        let cases = try Fixtures.json("templates/discovery.json")["cases"]?.arrayValue ?? []
        #expect(cases.count > 15)
        for item in cases {
            let files = item["files"]?.objectValue ?? [:]
            try expect(item["tokenizer"], files: files, isProcessor: false, tools: .null)
            try expect(item["tokenizer_with_tools"], files: files, isProcessor: false, tools: tool)
            let processor = item["processor"]
            // Where a processor has no template of its own, the tokenizer's is used rather than none.
            let hasNone = processor?["output"]?.isNull ?? false
            try expect(hasNone ? item["tokenizer"] : processor, files: files, isProcessor: true, tools: .null)
        }
    }

    private func expect(_ expected: JSONValue?, files: JSONObject, isProcessor: Bool, tools: JSONValue) throws {
        // A tokenizer alone is a folder without the processor's files.
        if !isProcessor, files["processor_config.json"] != nil { return }
        let folder = try TemporaryFolder()
        for (name, content) in files {
            try folder.write(name, content.stringValue ?? content.serialized())
        }
        if isProcessor { try folder.write("preprocessor_config.json", "{}") }
        let comment: Comment = "\(files.keys) processor: \(isProcessor)"
        do {
            let text = try ChatTemplate.load(folder: folder.path)?
                .render(messages: [["role": "user", "content": "hi"]], addGenerationPrompt: false, tools: tools)
            #expect(expected?["error"] == nil && text == expected?["output"]?.stringValue, comment)
        } catch {
            #expect(expected?["error"] != nil, "\(files.keys): \(error)")
        }
    }

    @Test func specialTokensComeFromTheTokenizerConfig() throws {
        let folder = try TemporaryFolder()
        try folder.write("chat_template.jinja", "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}|{{ image_token }}\n")
        try folder.write(
            "tokenizer_config.json",
            """
            {"bos_token": {"content": "<s>", "special": true}, "eos_token": "</s>", "pad_token": null,
             "extra_special_tokens": {"image_token": "<img>"}}
            """)
        let template = try #require(try ChatTemplate.load(folder: folder.path))
        #expect(try template.render(messages: [], addGenerationPrompt: false) == "<s>|</s>|False|<img>")
        let text = try template.render(messages: [], addGenerationPrompt: false, specialTokens: ["eos_token": "E"])
        #expect(text == "<s>|E|False|<img>")
    }

    @Test func aFolderWithoutTemplatesHasNone() throws {
        let folder = try TemporaryFolder()
        let template = try ChatTemplate.load(folder: folder.path)
        if template != nil { Issue.record("a template out of nothing") }
    }

    @Test(arguments: [
        ("tokenizer_config.json", "{\"chat_template\": 5}"),
        ("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"x\"}]}"),
        ("tokenizer_config.json", "{"), ("chat_template.jinja", "{% if %}"),
        ("processor_config.json", "{\"chat_template\": {\"a\": 1}}"),
    ])
    func badFilesAreNamed(name: String, content: String) throws {
        let folder = try TemporaryFolder()
        try folder.write(name, content)
        do {
            _ = try ChatTemplate.load(folder: folder.path)
            Issue.record("\(name) was accepted")
        } catch {
            #expect("\(error)".contains(name))
        }
    }
}

/// A folder that is removed with this object.
private final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "chat-template-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ content: String) throws {
        let file = path + "/" + name
        let folder = (file as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try content.write(toFile: file, atomically: true, encoding: .utf8)
    }
}
