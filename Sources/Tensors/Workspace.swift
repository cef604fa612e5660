/// Activation memory: one block, handed out front to back and taken back all at once.
///
/// A forward pass allocates from the workspace and returns to a ``Mark`` when a scope ends, so steady decoding allocates no
/// memory and reuses the same addresses step after step. Under a ``PlanningBackend`` the same code runs without memory and
/// ``highWater`` tells how many bytes the pass needs; that is how the memory plan is made.
package final class Workspace {
    /// A place to return to.
    package struct Mark { fileprivate let offset: Int }

    /// Every allocation starts at a multiple of this many bytes (a cache line, and a vector of 512 bits).
    package static let alignment = 64

    private let base: UnsafeMutableRawPointer
    private let owner: (any DeviceBuffer)?
    package let capacity: Int
    private var offset = 0
    /// The most bytes in use at once since the workspace was made.
    package private(set) var highWater = 0

    /// A workspace of `byteCount` bytes on the backend's device.
    package init(backend: any Backend, byteCount: Int) throws {
        let buffer = try backend.allocate(byteCount: byteCount, purpose: "activations")
        owner = buffer
        base = buffer.pointer
        capacity = byteCount
    }

    /// An uninitialised contiguous tensor, valid until the workspace is reset to an earlier mark.
    ///
    /// - Throws: ``TensorError`` of kind `outOfMemory` when the workspace is used up.
    package func allocate(_ shape: Shape, dtype: DType) throws -> Tensor {
        let bytes = (shape.count * dtype.size + Workspace.alignment - 1) / Workspace.alignment * Workspace.alignment
        guard offset + bytes <= capacity else {
            throw TensorError(
                .outOfMemory, operation: "workspace",
                detail: "\(shape) of \(dtype) needs \(bytes) bytes, \(capacity - offset) of \(capacity) are left")
        }
        defer {
            offset += bytes
            highWater = max(highWater, offset)
        }
        return Tensor(pointer: base + offset, dtype: dtype, shape: shape)
    }

    /// An uninitialised tensor `[rows, width]` whose rows start aligned: of use where any width may come, such as a vocabulary of
    /// 151,674, and a matrix product stores rows 16 bytes at a time.
    ///
    /// - Throws: ``TensorError`` of kind `outOfMemory` when the workspace is used up.
    package func allocateAligned(rows: Int, width: Int, dtype: DType) throws -> Tensor {
        let unit = Workspace.alignment / dtype.size
        return try allocate(Shape(rows, (width + unit - 1) / unit * unit), dtype: dtype).columns(0..<width)
    }

    package var mark: Mark { Mark(offset: offset) }

    /// Takes back everything allocated since `mark`.
    package func reset(to mark: Mark) { offset = mark.offset }

    /// Runs `body` and takes back what it allocated.
    package func scope<Result>(_ body: () throws -> Result) rethrows -> Result {
        let start = mark
        defer { reset(to: start) }
        return try body()
    }
}
