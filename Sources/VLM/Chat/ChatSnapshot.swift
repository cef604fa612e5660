import Foundation
import Imaging

/// A conversation with its pictures, to be kept in a file and gone on with later.
///
/// It holds all there is of the pictures (the bytes they were read from, or their pixels), and the tokens of the turns as the model read
/// and wrote them, which only the same model goes on with. Keys and values are computed again.
public struct ChatSnapshot: Sendable, Codable {
    /// The version of the form that is written.
    private static let newestVersion = 1

    private let version: Int
    /// What the model was called.
    public let model: String
    private let system: [Message]
    private let turns: [[Message]]
    /// Tells whether ``tokens`` are a tokenizer's.
    let tokenizer: String
    let tokens: ConversationTokens

    init(model: String, tokenizer: String, system: [ChatMessage], turns: [[ChatMessage]], tokens: ConversationTokens) {
        version = Self.newestVersion
        self.model = model
        self.tokenizer = tokenizer
        self.system = system.map { Message($0) }
        self.turns = turns.map { $0.map { Message($0) } }
        self.tokens = tokens
    }

    /// Reads a file that ``ChatSession/save(to:)`` wrote.
    ///
    /// - Throws: ``ChatError`` naming the file and what is wrong with it.
    public init(contentsOf path: String) throws {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw ChatError(.file, "\(path) cannot be read: \(error.localizedDescription)")
        }
        do {
            self = try JSONDecoder().decode(ChatSnapshot.self, from: data)
        } catch let error as DecodingError {
            throw ChatError(.invalidSnapshot, "\(path) is not a saved conversation: \(Self.words(error))")
        } catch {
            throw ChatError(.invalidSnapshot, "\(path) is not a saved conversation: \(error)")
        }
    }

    /// Writes the snapshot as JSON; a file of that name is replaced in one piece.
    ///
    /// - Throws: ``ChatError`` when the file cannot be written.
    public func write(to path: String) throws {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw ChatError(.file, "\(path) cannot be written: \(error.localizedDescription)")
        }
    }

    /// The system message, and question and answer of each turn.
    ///
    /// - Throws: ``ChatError`` when the parts are not those of a conversation.
    func conversation() throws -> (system: [ChatMessage], turns: [(question: [ChatMessage], answer: ChatMessage)]) {
        guard version == Self.newestVersion else {
            throw ChatError(
                .invalidSnapshot, "the conversation was saved in form \(version), and form \(Self.newestVersion) is known")
        }
        return try (
            system.map { try $0.message() },
            turns.enumerated().map { index, messages in
                guard let answer = messages.last, answer.role == "assistant", messages.count > 1 else {
                    throw ChatError(.invalidSnapshot, "turn \(index) of the conversation is not a question and its answer")
                }
                return (try messages.dropLast().map { try $0.message() }, try answer.message())
            }
        )
    }

    private static func words(_ error: DecodingError) -> String {
        func place(_ context: DecodingError.Context) -> String {
            context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(place(context)) has no \(key.stringValue)"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return "\(place(context)): \(context.debugDescription)"
        @unknown default: return "\(error)"
        }
    }
}

extension ChatSnapshot {
    fileprivate struct Message: Codable {
        let role: String
        let content: [Part]

        init(_ message: ChatMessage) {
            role = message.role
            content = message.content.map { Part($0) }
        }

        func message() throws -> ChatMessage { ChatMessage(role: role, content: try content.map { try $0.part() }) }
    }

    /// One of: a text, a file's bytes, pixels.
    fileprivate struct Part: Codable {
        var text: String?
        /// A picture's file.
        var file: Data?
        /// `[height, width, 3]` bytes.
        var pixels: Data?
        var width: Int?
        var height: Int?

        init(_ part: ContentPart) {
            switch part {
            case .text(let text): self.text = text
            case .image(.data(let bytes)): file = Data(bytes)
            case .image(.image(let image)):
                pixels = Data(image.pixels)
                width = image.width
                height = image.height
            case .image(.path), .image(.url):
                // Such a part is refused when it is read.
                assertionFailure("a session's turns hold what was read, never where from")
            }
        }

        func part() throws -> ContentPart {
            if let text { return .text(text) }
            if let file { return .image(.data([UInt8](file))) }
            guard let pixels, let width, let height else {
                throw ChatError(.invalidSnapshot, "the conversation has a part that is neither a text nor a picture")
            }
            return .image(.image(try RGBImage(width: width, height: height, pixels: [UInt8](pixels))))
        }
    }
}
