/// Why a guidance (a JSON Schema, a regular expression or a grammar) cannot steer generation.
///
/// Thrown when a request is prepared, before anything is generated: nothing that a guidance asks for is ever left out silently.
public struct GuidanceError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of fault it is.
    public enum Kind: String, Sendable {
        /// The text of the guidance does not follow the rules of its language.
        case invalidSyntax
        /// It uses something that cannot be held exactly.
        case unsupported
        /// No text at all would satisfy it.
        case unsatisfiable
        /// Its automaton would be larger than the limits.
        case tooLarge
        /// The tokens of the model cannot write it.
        case vocabulary
    }

    /// What kind of fault it is.
    public let kind: Kind
    /// The place: a JSON pointer such as `#/properties/age/minimum`, or a position such as `regex:12` or `grammar:3:7`.
    public let location: String
    /// What is wrong and what to do.
    public let message: String

    /// An error of `kind` at `location`.
    public init(_ kind: Kind, at location: String, _ message: String) {
        self.kind = kind
        self.location = location
        self.message = message
    }

    /// The place and what is wrong there.
    public var description: String { "\(location): \(message)" }
}
