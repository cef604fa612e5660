/// A named, read-only array in host memory as a checkpoint gives it: usually a slice of a mapped file.
package struct HostTensor: @unchecked Sendable {  // the bytes are never written after they were first seen
    package let name: String
    package let dtype: DType
    /// Axis lengths, outermost first. Checkpoints hold up to five axes (3-D convolutions), so this is not a ``Shape``.
    package let dimensions: [Int]
    private let memory: UnsafeRawBufferPointer
    /// Keeps the memory behind `bytes` alive.
    package let owner: AnyObject
    /// What the numbers follow from, when they are not from a file: a device can then make them itself. Nil for a file's.
    package let recipe: HostRecipe?

    /// - Parameter recipe: fills `bytes` when they are first asked for.
    package init(
        name: String, dtype: DType, dimensions: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject, recipe: HostRecipe? = nil
    ) {
        self.name = name
        self.dtype = dtype
        self.dimensions = dimensions
        memory = bytes
        self.owner = owner
        self.recipe = recipe
    }

    /// The elements, row-major. With a ``recipe`` they are made on the first call.
    ///
    /// Swift may release `owner` after the last mention of this tensor, even while a copy of `bytes` is in use: read through
    /// ``withBytes(_:)``, or keep the tensor with `withExtendedLifetime`.
    package var bytes: UnsafeRawBufferPointer {
        recipe?.fill(UnsafeMutableRawBufferPointer(mutating: memory))
        return memory
    }

    /// Reads the bytes while their owner is certain to live.
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(owner) { try body(bytes) }
    }

    package var count: Int { dimensions.reduce(1, *) }
    /// Bytes of all elements, whether they are made already or not.
    package var byteCount: Int { memory.count }
}
