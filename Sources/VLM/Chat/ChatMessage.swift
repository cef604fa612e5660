public import Imaging
import JSON

/// One turn of a conversation.
public struct ChatMessage: Sendable {
    /// `system`, `user`, `assistant` or `tool`.
    public var role: String
    /// Texts and images in the order the user wrote them.
    public var content: [ContentPart]

    /// A message of any role.
    public init(role: String, content: [ContentPart]) {
        self.role = role
        self.content = content
    }

    /// A system message.
    public static func system(_ text: String) -> ChatMessage { ChatMessage(role: "system", content: [.text(text)]) }
    /// A text from the user.
    public static func user(_ text: String) -> ChatMessage { ChatMessage(role: "user", content: [.text(text)]) }
    /// Texts and images from the user.
    public static func user(_ content: [ContentPart]) -> ChatMessage { ChatMessage(role: "user", content: content) }
    /// A text from the model.
    public static func assistant(_ text: String) -> ChatMessage { ChatMessage(role: "assistant", content: [.text(text)]) }

    /// Roles a conversation may have.
    static let roles: Set<String> = ["system", "developer", "user", "assistant", "tool"]

    var images: [ImageSource] {
        content.compactMap { part in
            if case .image(let source) = part { source } else { nil }
        }
    }
}

/// A text or an image inside a message.
public enum ContentPart: Sendable {
    case text(String)
    case image(ImageSource)
}

extension ChatMessage {
    /// Reads a conversation in the form of OpenAI's chat API: a list of `{"role": …, "content": …}` whose content is a text or a list of
    /// `{"type": "text", "text": …}` and `{"type": "image_url", "image_url": {"url": …}}`.
    ///
    /// - Parameters:
    ///   - json: the list.
    ///   - folder: relative image paths are meant from here.
    /// - Throws: ``PromptError`` naming the message and part.
    public static func parse(openAI json: String, relativeTo folder: String? = nil) throws -> [ChatMessage] {
        try parse(Self.json(json), relativeTo: folder)
    }

    static func json(_ text: String) throws(PromptError) -> JSONValue {
        do {
            return try JSONValue(parsing: Array(text.utf8), source: "messages")
        } catch {
            throw PromptError("messages are not JSON: \(error)")
        }
    }

    static func parse(_ value: JSONValue, relativeTo folder: String?) throws(PromptError) -> [ChatMessage] {
        guard let list = value.arrayValue else { throw PromptError("messages must be a list of {\"role\": …, \"content\": …}") }
        var messages: [ChatMessage] = []
        for (index, item) in list.enumerated() {
            guard let role = item["role"]?.stringValue else { throw PromptError("messages[\(index)] has no role") }
            let content = item["content"] ?? .null
            if let text = content.stringValue {
                messages.append(ChatMessage(role: role, content: [.text(text)]))
            } else if let parts = content.arrayValue {
                var converted: [ContentPart] = []
                for (position, part) in parts.enumerated() {
                    converted.append(try parsePart(part, "messages[\(index)].content[\(position)]", folder))
                }
                messages.append(ChatMessage(role: role, content: converted))
            } else {
                throw PromptError("messages[\(index)].content must be a text or a list of parts")
            }
        }
        return messages
    }

    private static func parsePart(_ part: JSONValue, _ path: String, _ folder: String?) throws(PromptError) -> ContentPart {
        switch part["type"]?.stringValue {
        case "text":
            guard let text = part["text"]?.stringValue else { throw PromptError("\(path) of type text has no text") }
            return .text(text)
        case "image_url", "image":
            let value = part["image_url"] ?? part["image"] ?? part["url"]
            guard let address = value?.stringValue ?? value?["url"]?.stringValue else {
                throw PromptError("\(path) has no image_url.url")
            }
            guard !address.isEmpty else { throw PromptError("\(path) has an empty image_url.url; give a path or an address") }
            return .image(source(address, folder))
        case let type?:
            throw PromptError("\(path) has the type \"\(type)\"; text and image_url are known")
        case nil:
            throw PromptError("\(path) has no type; text and image_url are known")
        }
    }

    /// An address; a relative path is meant from `folder`.
    private static func source(_ address: String, _ folder: String?) -> ImageSource {
        let source = ImageSource(address)
        guard let folder, case .path(let path) = source, !path.hasPrefix("/"), !path.hasPrefix("~") else { return source }
        return .path(folder + "/" + path)
    }

    /// Checks what every template relies on.
    ///
    /// - Throws: ``PromptError`` naming the message.
    static func validate(_ messages: [ChatMessage]) throws(PromptError) {
        guard !messages.isEmpty else { throw PromptError("there are no messages; give at least one from the user") }
        for (index, message) in messages.enumerated() {
            guard roles.contains(message.role) else {
                throw PromptError(
                    "messages[\(index)] has the unknown role \"\(message.role)\"; use \(roles.sorted().joined(separator: ", "))")
            }
            guard !message.content.isEmpty else { throw PromptError("messages[\(index)] has no content") }
        }
    }
}
