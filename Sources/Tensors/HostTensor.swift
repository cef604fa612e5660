/// A named, read-only array in host memory as a checkpoint gives it: usually a slice of a mapped file.
package struct HostTensor: @unchecked Sendable {  // the bytes are never written after the owner made them
    package let name: String
    package let dtype: DType
    /// Axis lengths, outermost first. Checkpoints hold up to five axes (3-D convolutions), so this is not a ``Shape``.
    package let dimensions: [Int]
    ///
    /// Swift may release `owner` after the last mention of this tensor, even while a copy of `bytes` is in use: read through
    /// ``withBytes(_:)``, or keep the tensor with `withExtendedLifetime`.
    package let bytes: UnsafeRawBufferPointer
    /// Keeps the memory behind `bytes` alive.
    package let owner: AnyObject

    package init(name: String, dtype: DType, dimensions: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject) {
        self.name = name
        self.dtype = dtype
        self.dimensions = dimensions
        self.bytes = bytes
        self.owner = owner
    }

    /// Reads the bytes while their owner is certain to live.
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(owner) { try body(bytes) }
    }

    package var count: Int { dimensions.reduce(1, *) }
}
