/// A checkpoint that cannot be found, read or bound to a model.
package struct CheckpointError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// No folder, file or Hub snapshot of that name.
        case notFound
        /// A folder that lacks files a checkpoint must have.
        case notACheckpoint
        /// A file that the system would not read or write.
        case unreadable
        /// A safetensors file or shard index that breaks its own format.
        case malformed
        /// A key of a configuration file that is absent, or whose value cannot be used.
        case invalidConfig
        /// Tensors that are missing, unexpected or of another shape than the configuration says.
        case weightMismatch
        /// A weight that holds NaN or infinity.
        case notFinite
        /// Something well-formed that this version cannot run.
        case unsupported
    }

    package let kind: Kind
    /// The file or folder at fault, as the user wrote it where possible.
    package let source: String
    /// What is wrong, naming the JSON path or tensor.
    package let detail: String
    /// What to do about it; empty when the detail says it.
    package let hint: String

    package init(_ kind: Kind, source: String, detail: String, hint: String = "") {
        self.kind = kind
        self.source = source
        self.detail = detail
        self.hint = hint
    }

    package var description: String {
        hint.isEmpty ? "\(source): \(detail)" : "\(source): \(detail). \(hint)"
    }
}
