public import Engine
public import Extraction

/// What is known of a value while the model writes it.
public struct ExtractionPiece<Value: Extractable>: Sendable {
    /// The members read so far.
    public let partial: Value.Partial
    /// The whole value, in the last piece.
    public let value: Value?
    /// How the answer was generated, in the last piece.
    public let response: Response?
}
