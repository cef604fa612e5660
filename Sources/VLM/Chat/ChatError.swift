/// What a conversation could not do.
public struct ChatError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What sort of error it is.
    public enum Kind: String, Sendable {
        /// More turns were to be taken back than there are.
        case noSuchTurn
        /// A file of a conversation cannot be read or written.
        case file
        /// What was read is not a saved conversation.
        case invalidSnapshot
    }

    /// What sort of error it is.
    public let kind: Kind
    /// What is wrong and what to do.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
