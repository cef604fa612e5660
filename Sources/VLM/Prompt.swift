public import Imaging
import JSON

/// Marks in a prompt's text where an image goes. Without it, images come before the text.
public let imageToken = "<IMAGE_TOKEN>"

/// One thing to ask: a text, a text with pictures, or a whole conversation.
///
///     let a: Prompt = "What is the capital of France?"
///     let b = Prompt("What does the sign say?", images: [sign])
///     let c = Prompt("Is \(imageToken) larger than \(imageToken)?", images: [left, right])
///     let d = Prompt.messages([.system("Be brief."), .user("Hello")])
public struct Prompt: Sendable, ExpressibleByStringLiteral {
    /// The conversation, oldest message first.
    public let messages: [ChatMessage]
    /// Whether the text of the only message may hold ``imageToken``s, to be paired with the images before them.
    let placesImages: Bool

    /// A question in one user message. Images stand where the text has an ``imageToken``, or before the text when it has none.
    public init(_ text: String, images: [ImageSource] = []) {
        messages = [ChatMessage(role: "user", content: images.map { .image($0) } + [.text(text)])]
        placesImages = true
    }

    /// A question about pictures that are decoded already.
    public init(_ text: String, images: [RGBImage]) {
        self.init(text, images: images.map { .image($0) })
    }

    /// A question without pictures.
    public init(stringLiteral text: String) { self.init(text) }

    private init(messages: [ChatMessage], placesImages: Bool = false) {
        self.messages = messages
        self.placesImages = placesImages
    }

    /// The prompt with a paragraph added at the end of what the user says.
    func appending(_ paragraph: String) -> Prompt {
        var messages = messages
        guard let last = messages.lastIndex(where: { $0.role == "user" }) else {
            return Prompt(messages: messages + [.user(paragraph)])
        }
        if case .text(let text)? = messages[last].content.last {
            messages[last].content[messages[last].content.count - 1] = .text(text + "\n\n" + paragraph)
        } else {
            messages[last].content.append(.text(paragraph))
        }
        return Prompt(messages: messages, placesImages: placesImages)
    }

    /// A conversation whose last message is to be answered.
    public static func messages(_ messages: [ChatMessage]) -> Prompt { Prompt(messages: messages) }

    /// Reads one conversation in the form of OpenAI's chat API, or a list of them.
    ///
    /// - Parameters:
    ///   - json: a list of messages, or a list of such lists.
    ///   - folder: relative image paths are meant from here.
    /// - Throws: ``PromptError`` naming conversation, message and part.
    public static func conversations(openAI json: String, relativeTo folder: String? = nil) throws -> [Prompt] {
        let value = try ChatMessage.json(json)
        guard let list = value.arrayValue, !list.isEmpty, list.allSatisfy({ $0.arrayValue != nil }) else {
            return [.messages(try ChatMessage.parse(value, relativeTo: folder))]
        }
        return try list.map { .messages(try ChatMessage.parse($0, relativeTo: folder)) }
    }

    /// The messages with every ``imageToken`` replaced by its image.
    ///
    /// - Throws: ``PromptError`` when the text has a different number of ``imageToken``s than there are images.
    func placed() throws(PromptError) -> [ChatMessage] {
        guard placesImages, let message = messages.first, case .text(let text)? = message.content.last else { return messages }
        let images = message.content.dropLast()
        let pieces = text.pieces(separatedBy: imageToken)
        guard pieces.count > 1 else { return messages }
        guard pieces.count - 1 == images.count else {
            throw PromptError(
                "the text has \(pieces.count - 1) \(imageToken) marks and \(images.count) images are given; give one mark for each image, or none"
            )
        }
        var content: [ContentPart] = []
        for (index, piece) in pieces.enumerated() {
            if index > 0 { content.append(images[images.startIndex + index - 1]) }
            if !piece.isEmpty { content.append(.text(piece)) }
        }
        return [ChatMessage(role: message.role, content: content)]
    }
}

/// A prompt that cannot be made sense of.
public struct PromptError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong and what to do.
    public let description: String

    init(_ description: String) { self.description = description }
}
