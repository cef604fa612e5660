import CCPUKernels
package import Tensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Zeroed memory of the process, page-aligned, in huge pages where the system gives them.
///
/// Weights are read front to back once per token: with 4 KB pages address translation costs a visible part of the bandwidth.
private final class HostBuffer: DeviceBuffer {
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int
    private let mapping: UnsafeMutableRawPointer
    private let mappedBytes: Int
    private let ledger: HostMemoryLedger

    private static let hugePage = 2 << 20

    /// Nil when the system has no memory left.
    init?(byteCount: Int, ledger: HostMemoryLedger) {
        // Large blocks begin on a huge page.
        let slack = byteCount >= HostBuffer.hugePage ? HostBuffer.hugePage : 0
        let (bytes, overflow) = max(byteCount, 1).addingReportingOverflow(slack)
        guard byteCount >= 0, !overflow,
            let mapping = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | HostBuffer.anonymous, -1, 0),
            mapping != MAP_FAILED
        else { return nil }
        self.mapping = mapping
        self.ledger = ledger
        mappedBytes = bytes
        ledger.add(bytes)
        self.byteCount = byteCount
        if slack > 0 {
            let address = UInt(bitPattern: mapping)
            let aligned = (address + UInt(slack) - 1) / UInt(slack) * UInt(slack)
            pointer = mapping + Int(aligned - address)
            #if os(Linux)
            // Advice only: when refused, ordinary pages serve.
            _ = madvise(pointer, byteCount, Int32(MADV_HUGEPAGE))
            #endif
        } else {
            pointer = mapping
        }
    }

    deinit {
        munmap(mapping, mappedBytes)
        ledger.add(-mappedBytes)
    }

    #if os(Linux)
    private static let anonymous = Int32(MAP_ANONYMOUS)
    #else
    private static let anonymous = MAP_ANON
    #endif
}

/// A part of a larger buffer, which lives as long as any of its parts.
private final class BufferPart: DeviceBuffer {
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int
    private let whole: any DeviceBuffer

    init(of whole: any DeviceBuffer, offset: Int, byteCount: Int) {
        pointer = whole.pointer + offset
        self.byteCount = byteCount
        self.whole = whole
    }
}

extension CPUBackend {
    /// Memory for a weight: zeroed, aligned to ``Workspace/alignment``. Weights too small to fill huge pages of their own share some.
    func allocateWeight(byteCount: Int, purpose: String) throws -> any DeviceBuffer {
        let blockBytes = 32 << 20
        guard byteCount <= blockBytes / 4 else { return try allocate(byteCount: byteCount, purpose: purpose) }
        var (block, used) = try weightBlock ?? (allocate(byteCount: blockBytes, purpose: "weights"), 0)
        if used + byteCount > blockBytes {
            (block, used) = (try allocate(byteCount: blockBytes, purpose: "weights"), 0)
        }
        let alignment = Workspace.alignment
        weightBlock = (block, used + (byteCount + alignment - 1) / alignment * alignment)
        return BufferPart(of: block, offset: used, byteCount: byteCount)
    }

    /// Gives memory of the process that was freed back to the system, where the allocator keeps it for later.
    package static func returnFreeMemory() { vlm_return_free_memory() }

    /// Page-aligned zeroed memory.
    package func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer {
        guard let buffer = HostBuffer(byteCount: byteCount, ledger: ledger) else {
            throw TensorError(
                .outOfMemory, operation: "allocate", detail: "the system has no \(byteCount) bytes for \(purpose)")
        }
        return buffer
    }

    package func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
        guard tensor.isContiguous, bytes.count == tensor.byteCount else {
            throw TensorError(
                .shapeMismatch, operation: "upload",
                detail: "\(bytes.count) bytes for a tensor \(tensor.shape) of \(tensor.dtype), which needs \(tensor.byteCount)")
        }
        guard let source = bytes.baseAddress else { return }
        tensor.pointer.copyMemory(from: source, byteCount: bytes.count)
    }

    package func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
        guard bytes.count == tensor.byteCount else {
            throw TensorError(
                .shapeMismatch, operation: "download",
                detail: "a tensor \(tensor.shape) of \(tensor.dtype) needs \(tensor.byteCount) bytes, \(bytes.count) were given")
        }
        guard let destination = bytes.baseAddress else { return }
        guard !tensor.isContiguous else { return destination.copyMemory(from: tensor.pointer, byteCount: bytes.count) }
        let rowBytes = tensor.width * tensor.dtype.size
        for row in 0..<tensor.rows {
            (destination + row * rowBytes).copyMemory(
                from: tensor.pointer + row * tensor.rowStride * tensor.dtype.size, byteCount: rowBytes)
        }
    }

    package func copy(_ source: Tensor, into out: Tensor) throws {
        guard source.shape == out.shape, source.dtype == out.dtype else {
            throw TensorError(
                .shapeMismatch, operation: "copy",
                detail: "from \(source.shape) of \(source.dtype) into \(out.shape) of \(out.dtype)")
        }
        let size = source.dtype.size
        let rowBytes = source.width * size
        guard rowBytes > 0 else { return }
        // A grain of 64 KB or more: smaller pieces cost more to hand out than to copy.
        pool.parallelRanges(source.rows, grain: max(1, 65536 / rowBytes)) { rows, _ in
            for row in rows {
                (out.pointer + row * out.rowStride * size).copyMemory(
                    from: source.pointer + row * source.rowStride * size, byteCount: rowBytes)
            }
        }
    }

    /// Every operation has run when its call returns.
    package func synchronize() throws {}
}
