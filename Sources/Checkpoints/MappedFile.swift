import Foundation

/// A file mapped read-only for as long as this object lives.
final class MappedFile: @unchecked Sendable {  // the mapping is never written and its address never changes
    let bytes: UnsafeRawBufferPointer

    /// Maps a whole file. Pages are read when touched, front to back (`madvise` sequential), so loading streams from disk.
    init(path: String) throws(CheckpointError) {
        func failure(_ call: String) -> CheckpointError {
            CheckpointError(.unreadable, source: path, detail: "\(call) failed: \(String(cString: strerror(errno)))")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("stat") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw CheckpointError(.unreadable, source: path, detail: "it is not a regular file")
        }
        let size = Int(status.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
            throw failure("mmap")
        }
        madvise(address, size, MADV_SEQUENTIAL)
        madvise(address, size, MADV_WILLNEED)
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    /// Gives the pages that were read back to the system; they are read again when touched.
    func releasePages() {
        guard let address = bytes.baseAddress else { return }
        madvise(UnsafeMutableRawPointer(mutating: address), bytes.count, MADV_DONTNEED)
    }

    deinit {
        guard let address = bytes.baseAddress else { return }
        munmap(UnsafeMutableRawPointer(mutating: address), bytes.count)
    }
}

/// Anonymous memory that reads as zeros and costs nothing until it is written.
final class AnonymousMemory: @unchecked Sendable {  // handed out only after its one writer is done
    let bytes: UnsafeMutableRawBufferPointer

    /// - Throws: ``CheckpointError`` when the system has no address space left.
    init(byteCount: Int) throws(CheckpointError) {
        guard byteCount > 0,
            let address = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
            address != MAP_FAILED
        else {
            throw CheckpointError(
                .unreadable, source: "memory",
                detail: "the system gave no \(byteCount) bytes: \(String(cString: strerror(errno)))")
        }
        #if os(Linux)
        // Fewer page faults when a large tensor is filled; only a hint.
        madvise(address, byteCount, MADV_HUGEPAGE)
        #endif
        bytes = UnsafeMutableRawBufferPointer(start: address, count: byteCount)
    }

    deinit {
        guard let address = bytes.baseAddress else { return }
        munmap(address, bytes.count)
    }
}
