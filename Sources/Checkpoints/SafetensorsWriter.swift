package import Foundation
import JSON
package import Tensors

/// Collects named arrays and writes them as one safetensors file.
package struct SafetensorsWriter {
    private struct Entry {
        let name: String
        let dtype: DType
        let dimensions: [Int]
        let bytes: [UInt8]
    }

    private var entries: [Entry] = []
    /// Free text for the file's `__metadata__`.
    package var metadata: [String: String] = [:]

    package init() {}

    /// Adds an array. `dimensions` must multiply to the number of values, and names must differ.
    package mutating func add(_ name: String, _ dimensions: [Int], _ values: [Float]) { add(name, dimensions, .float32, values) }
    package mutating func add(_ name: String, _ dimensions: [Int], _ values: [Int32]) { add(name, dimensions, .int32, values) }
    package mutating func add(_ name: String, _ dimensions: [Int], _ values: [Int64]) { add(name, dimensions, .int64, values) }
    package mutating func add(_ name: String, _ dimensions: [Int], _ values: [UInt8]) { add(name, dimensions, .uint8, values) }

    /// Adds raw little-endian elements of any type.
    package mutating func add(_ name: String, _ dimensions: [Int], _ dtype: DType, bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count == dimensions.reduce(dtype.size, *), "dimensions do not fit the values")
        precondition(name != "__metadata__" && !entries.contains { $0.name == name }, "a name is written twice")
        entries.append(Entry(name: name, dtype: dtype, dimensions: dimensions, bytes: Array(bytes)))
    }

    private mutating func add<Value>(_ name: String, _ dimensions: [Int], _ dtype: DType, _ values: [Value]) {
        values.withUnsafeBytes { add(name, dimensions, dtype, bytes: $0) }
    }

    /// The file's bytes: widest types first, so that every tensor is aligned to its element size, then by name.
    package func serialized() -> Data {
        let sorted = entries.sorted { ($1.dtype.size, $0.name) < ($0.dtype.size, $1.name) }
        var header = JSONObject()
        if !metadata.isEmpty {
            header["__metadata__"] = .object(JSONObject(metadata.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
        }
        var position = 0
        for entry in sorted {
            header[entry.name] = .object(
                JSONObject([
                    ("dtype", .string(entry.dtype.safetensorsCode)),
                    ("shape", .array(entry.dimensions.map { .integer($0) })),
                    ("data_offsets", .array([.integer(position), .integer(position + entry.bytes.count)])),
                ]))
            position += entry.bytes.count
        }
        var text = Array(JSONValue.object(header).serialized().utf8)
        text += Array(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
        var file = Data(capacity: 8 + text.count + position)
        withUnsafeBytes(of: UInt64(text.count).littleEndian) { file.append(contentsOf: $0) }
        file.append(contentsOf: text)
        for entry in sorted { file.append(contentsOf: entry.bytes) }
        return file
    }

    /// Writes the file whole or not at all: into a temporary file beside it, which then takes its name. A link is followed, and a
    /// device or pipe is written to, since a new file in its place would destroy it.
    ///
    /// - Throws: ``CheckpointError`` of kind `unreadable` when the folder cannot be written.
    package func write(to path: String) throws(CheckpointError) {
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT == S_IFDIR {
            throw CheckpointError(.unreadable, source: path, detail: "it is a folder; give the name of a file")
        }
        if exists, status.st_mode & S_IFMT != S_IFREG { return try write(opening: path, O_WRONLY, for: path) }
        let target = exists ? URL(fileURLWithPath: path).resolvingSymlinksInPath().path : path
        let temporary = "\(target).\(getpid()).partial"
        do throws(CheckpointError) {
            try write(opening: temporary, O_WRONLY | O_CREAT | O_EXCL, for: path)
            guard rename(temporary, target) == 0 else { throw failure(path) }
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private func write(opening file: String, _ flags: Int32, for path: String) throws(CheckpointError) {
        let descriptor = open(file, flags | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure(path) }
        let bytes = serialized()
        let complete = bytes.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return true }
            var written = 0
            while written < buffer.count {
                let count = Foundation.write(descriptor, start + written, buffer.count - written)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { return false }
                written += count
            }
            return true
        }
        let error = complete ? nil : failure(path)
        // Closing may be what reports a full disk.
        guard close(descriptor) == 0 || error != nil else { throw failure(path) }
        if let error { throw error }
    }

    /// What the last system call reported.
    private func failure(_ path: String) -> CheckpointError {
        CheckpointError(
            .unreadable, source: path,
            detail: "it cannot be written: \(String(cString: strerror(errno))); check the folder and the free space")
    }
}
