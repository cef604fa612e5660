/// A failure of a tensor operation, a kernel or a device.
package struct TensorError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// Operands do not fit together.
        case shapeMismatch
        /// The backend has no kernel for these types.
        case unsupported
        /// The device or the planned workspace has too little memory.
        case outOfMemory
        /// The device reported a fault.
        case deviceFailure
    }

    package let kind: Kind
    /// The operation or kernel that failed, such as `linear`.
    package let operation: String
    /// What was expected and what was given, with shapes, and what to do.
    package let detail: String

    package init(_ kind: Kind, operation: String, detail: String) {
        self.kind = kind
        self.operation = operation
        self.detail = detail
    }

    package var description: String { "\(operation): \(detail)" }
}
