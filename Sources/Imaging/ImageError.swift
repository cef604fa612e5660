/// Why a picture could not be had, and what to do about it.
public struct ImageError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure, for code that reacts to it.
    public enum Kind: String, Sendable, Equatable, CaseIterable {
        /// The file does not exist.
        case notFound
        /// The file exists and cannot be read.
        case unreadable
        /// There are no bytes.
        case empty
        /// More bytes than ``ImageLimits/maxBytes``.
        case tooManyBytes
        /// More pixels than ``ImageLimits/maxPixels``; found in the header, before decoding.
        case tooManyPixels
        /// The bytes are no picture format that is known.
        case unrecognized
        /// A known format, or a variant of one, that is not decoded.
        case unsupported
        /// The data ends before the picture does.
        case truncated
        /// The data contradicts its own format.
        case corrupt
        /// Memory ran out.
        case outOfMemory
        /// The address or data URL is malformed.
        case invalidURL
        /// The address or the kind of source is forbidden by ``ImageLimits``.
        case forbidden
        /// The server's answer is not a picture: an HTTP error status.
        case badStatus
        /// Too many redirects, or a circle of them.
        case tooManyRedirects
        /// The name could not be resolved, or the connection failed.
        case network
        /// The whole fetch took longer than ``ImageLimits/timeoutSeconds``.
        case timedOut
        /// The task was cancelled.
        case cancelled
        /// A system library that is needed is not installed.
        case missingLibrary
        /// A size that cannot be processed: not positive, or too long and thin.
        case invalidSize
    }

    /// The kind of failure.
    public let kind: Kind
    /// The picture's position in the prompt, from 0; `nil` while it is not known.
    public var imageIndex: Int?
    /// Where the picture came from: a path, an address, or an abbreviated data URL.
    public var source: String?
    /// What is wrong, in words.
    public let reason: String
    /// What to do, in words.
    public let fix: String?

    package init(_ kind: Kind, _ reason: String, fix: String? = nil) {
        self.kind = kind
        self.reason = reason
        self.fix = fix
    }

    /// The same error, saying which picture it concerns. What is already known stays.
    package func locating(index: Int?, source: String?) -> ImageError {
        var error = self
        error.imageIndex = imageIndex ?? index
        error.source = self.source ?? source
        return error
    }

    /// One line: which picture, what is wrong, and what to do.
    public var description: String {
        var subject = "image"
        if let imageIndex { subject += " \(imageIndex)" }
        if let source { subject += " (\(source))" }
        guard let fix else { return "\(subject): \(reason)" }
        return "\(subject): \(reason); \(fix)"
    }
}
