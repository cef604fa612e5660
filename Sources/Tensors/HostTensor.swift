/// A named, read-only array in host memory as a checkpoint gives it: usually a slice of a mapped file.
package struct HostTensor: @unchecked Sendable {  // the bytes are never written after the owner made them
    package let name: String
    package let dtype: DType
    /// Axis lengths, outermost first. Checkpoints hold up to five axes (3-D convolutions), so this is not a ``Shape``.
    package let dimensions: [Int]
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

    package var count: Int { dimensions.reduce(1, *) }
}
