import JSON

/// An answer that no value could be read from.
public struct ExtractionError: Error, Sendable, CustomStringConvertible {
    /// What went wrong.
    public enum Kind: Sendable, Equatable {
        /// The answer reached its last token before the value was whole.
        case cutShort
        /// The answer is no JSON of the type.
        case unreadable
    }

    /// What went wrong.
    public let kind: Kind
    /// What the model wrote.
    public let text: String
    /// Where in the answer, such as `$.lines[2].price`; nil when the answer as a whole is at fault.
    public let path: String?
    /// What is wrong and what to do.
    public let description: String

    /// What was read before the answer ended, if anything was.
    ///
    /// - Parameter type: the type that was asked for.
    public func partial<Value: Extractable>(of type: Value.Type) -> Value.Partial? {
        var json = PartialJSON(schema: Value.schema)
        json.append(text.utf8)
        return json.document.flatMap { try? ExtractionDecoding.decode(Value.Partial.self, from: $0) }
    }

    package static func cutShort(_ text: String, tokenCount: Int) -> ExtractionError {
        ExtractionError(
            kind: .cutShort, text: text, path: nil,
            description:
                "the answer ended after \(tokenCount) tokens, before the value was whole; raise maxNewTokens or sessionLen, "
                + "or limit the counts of lists and texts")
    }

    package static func unreadable<Value>(_ text: String, as type: Value.Type, _ error: any Error) -> ExtractionError {
        let (path, reason) = reason(error)
        return ExtractionError(
            kind: .unreadable, text: text, path: path,
            description: "the answer is no \(type): \(path.map { "\($0): " } ?? "")\(reason)")
    }

    private static func reason(_ error: any Error) -> (path: String?, reason: String) {
        switch error {
        case DecodingError.keyNotFound(_, let context), DecodingError.typeMismatch(_, let context),
            DecodingError.valueNotFound(_, let context), DecodingError.dataCorrupted(let context):
            return (path(context.codingPath), context.debugDescription)
        case let error as JSONError: return (nil, error.description)
        default: return (nil, "\(error)")
        }
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.reduce(into: "$") { path, key in path += key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
    }
}
