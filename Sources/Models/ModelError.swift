/// A checkpoint, image or prompt that a model cannot take.
package struct ModelError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// No family has this architecture.
        case unknownArchitecture
        /// The configuration asks for something this version does not do, or contradicts itself.
        case configuration
        /// An image does not fit the model.
        case unsupportedImage
        /// Image placeholders and images do not match.
        case promptMismatch
    }

    package let kind: Kind
    /// What is at fault: an architecture, a configuration path, a token.
    package let subject: String
    /// What is wrong and what to do.
    package let detail: String

    package init(_ kind: Kind, subject: String, detail: String) {
        self.kind = kind
        self.subject = subject
        self.detail = detail
    }

    package var description: String { "\(subject): \(detail)" }
}
