/// A request or configuration the engine refuses, or a failure while it ran.
public struct EngineError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What sort of error it is.
    public enum Kind: String, Sendable {
        /// An option of a request is out of range or contradicts another.
        case invalidRequest
        /// An option of the engine is.
        case invalidConfiguration
        /// Prompt and response do not fit the session.
        case contextLengthExceeded
        /// The model cannot do what was asked, such as look at an image.
        case unsupportedFeature
        /// Weights, workspace and cache do not fit the device.
        case outOfMemory
        /// The device or a kernel failed.
        case deviceFailure
        /// The pipeline was closed.
        case closed
        /// The request was cancelled.
        case cancelled
        /// Too many requests wait already; try again later.
        case busy
        /// The request's deadline passed.
        case deadlineExceeded
        /// The engine sleeps; wake it first.
        case asleep
    }

    /// What sort of error it is.
    public let kind: Kind
    /// What is wrong, with the numbers, and what to do.
    public let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }

    /// ``detail``.
    public var description: String { detail }

    /// Whether the caller can mend it by asking for something else.
    package var isBadInput: Bool {
        switch kind {
        case .invalidRequest, .invalidConfiguration, .contextLengthExceeded, .unsupportedFeature: true
        case .outOfMemory, .deviceFailure, .closed, .cancelled, .busy, .deadlineExceeded, .asleep: false
        }
    }

    static let deadlineExceeded = EngineError(
        .deadlineExceeded,
        "the request's deadline passed before its response was finished; give it more time or ask for fewer tokens")
    static let cancelled = EngineError(.cancelled, "the request was cancelled")
}
