#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The bytes of a regular file.
///
/// Plain system calls: a tokenizer of 11 MB is read once, and neither Foundation's `Data` nor its start-up cost is needed.
package func readFile(_ path: String) throws(JSONError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw fileError(path, "cannot be opened") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw fileError(path, "cannot be examined") }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw JSONError(source: path, message: "is not a regular file")
    }
    let size = Int(status.st_size)
    var failed = false
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
        while count < size {
            let got = read(descriptor, buffer.baseAddress.map { $0 + count }, size - count)
            if got < 0 && errno == EINTR { continue }
            failed = got < 0
            if got <= 0 { break }
            count += got
        }
    }
    if failed { throw fileError(path, "cannot be read") }
    return bytes
}

private func fileError(_ path: String, _ what: String) -> JSONError {
    JSONError(source: path, message: "\(what): \(String(cString: strerror(errno)))")
}

/// Calls `body` with the elements as one buffer, copying only a collection that is not contiguous.
package func withBytes<R>(of bytes: some Collection<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> R) -> R {
    bytes.withContiguousStorageIfAvailable(body) ?? Array(bytes).withUnsafeBufferPointer(body)
}
