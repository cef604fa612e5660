import JSON
package import Tensors

/// One safetensors file, mapped.
///
/// Format: 8 bytes little-endian length of the header; the header, a JSON object `name → {dtype, shape, data_offsets}` with an
/// optional `__metadata__` of strings; then the tensors' bytes, without holes or overlaps
/// (https://github.com/huggingface/safetensors, "Format").
package struct SafetensorsFile: Sendable {
    package let path: String
    /// In the order of their data.
    package let tensors: [HostTensor]
    package let metadata: [String: String]

    /// The largest header the reference implementation reads.
    static let maximumHeader = 100_000_000

    /// Maps a file and checks its header completely.
    ///
    /// - Throws: ``CheckpointError`` of kind `unreadable` or `malformed`.
    package init(path: String) throws(CheckpointError) {
        let file = try MappedFile(path: path)
        try self.init(file.bytes, owner: file, path: path)
    }

    /// Reads a file that is in memory already; `path` is for errors.
    package init(bytes: [UInt8], path: String) throws(CheckpointError) {
        let memory = try AnonymousMemory(byteCount: max(bytes.count, 1))
        memory.bytes.copyBytes(from: bytes)
        try self.init(
            UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(memory.bytes)[..<bytes.count]), owner: memory, path: path)
    }

    private init(_ file: UnsafeRawBufferPointer, owner: AnyObject, path: String) throws(CheckpointError) {
        defer { withExtendedLifetime(owner) {} }
        let header = try SafetensorsHeader(file, path: path)
        let data = UnsafeRawBufferPointer(rebasing: file[header.dataStart...])
        self.path = path
        metadata = header.metadata
        tensors = header.entries.map { entry in
            HostTensor(
                name: entry.name, dtype: entry.dtype, dimensions: entry.dimensions,
                bytes: UnsafeRawBufferPointer(rebasing: data[entry.range]), owner: owner)
        }
    }

    /// The tensor `name`, or nil.
    package func tensor(_ name: String) -> HostTensor? { tensors.first { $0.name == name } }
}

/// What the header of a safetensors file says, checked against the size of the file.
struct SafetensorsHeader {
    struct Entry {
        let name: String
        let dtype: DType
        let dimensions: [Int]
        /// Bytes relative to the start of the data.
        let range: Range<Int>
    }

    /// Sorted by position.
    let entries: [Entry]
    let metadata: [String: String]
    /// Offset in the file where tensor data starts.
    let dataStart: Int

    /// - Parameter file: the whole file.
    init(_ file: UnsafeRawBufferPointer, path: String) throws(CheckpointError) {
        func malformed(_ detail: String) -> CheckpointError {
            CheckpointError(
                .malformed, source: path, detail: detail, hint: "The file is damaged or cut short; get it again")
        }
        guard file.count >= 8 else {
            throw malformed("it has \(file.count) bytes, a safetensors file starts with 8 bytes of length")
        }
        let length = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(SafetensorsFile.maximumHeader) else {
            throw malformed("the header claims \(length) bytes; this is not a safetensors file")
        }
        let dataStart = 8 + Int(length)
        guard dataStart <= file.count else { throw malformed("the header claims \(length) bytes, the file has \(file.count)") }
        let root: JSONValue
        do {
            root = try JSONValue(parsing: UnsafeRawBufferPointer(rebasing: file[8..<dataStart]), source: path)
        } catch {
            throw malformed("the header is not JSON: \(error)")
        }
        guard let object = root.objectValue else { throw malformed("the header is not a JSON object") }

        var entries: [Entry] = []
        entries.reserveCapacity(object.count)
        var metadata: [String: String] = [:]
        for (name, value) in object {
            if name == "__metadata__" {
                for (key, text) in value.objectValue ?? JSONObject() { metadata[key] = text.stringValue }
                continue
            }
            do { entries.append(try Entry(name, value)) } catch { throw malformed("\(name): \(error.reason)") }
        }
        entries.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var position = 0
        for entry in entries {
            guard entry.range.lowerBound == position else {
                throw malformed(
                    "\(entry.name) starts at byte \(entry.range.lowerBound) of the data, which \(entry.range.lowerBound < position ? "overlaps the tensor before it" : "leaves a hole after byte \(position)")"
                )
            }
            position = entry.range.upperBound
        }
        guard dataStart + position == file.count else {
            throw malformed("the tensors take \(position) bytes, the file holds \(file.count - dataStart)")
        }
        self.entries = entries
        self.metadata = metadata
        self.dataStart = dataStart
    }
}

extension SafetensorsHeader.Entry {
    struct Invalid: Error { let reason: String }

    init(_ name: String, _ value: JSONValue) throws(Invalid) {
        guard let code = value["dtype"]?.stringValue else { throw Invalid(reason: "dtype is missing") }
        guard let dtype = DType(safetensors: code) else { throw Invalid(reason: "dtype \(code.prefix(20)) is not supported") }
        guard let shape = value["shape"]?.arrayValue else { throw Invalid(reason: "shape is missing") }
        var dimensions: [Int] = []
        var count = 1
        for axis in shape {
            guard case .integer(let length) = axis, length >= 0 else {
                throw Invalid(reason: "shape holds something else than lengths")
            }
            let (product, overflow) = count.multipliedReportingOverflow(by: length)
            guard !overflow else { throw Invalid(reason: "shape has more elements than memory can hold") }
            count = product
            dimensions.append(length)
        }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: dtype.size)
        guard !overflow else { throw Invalid(reason: "shape has more elements than memory can hold") }
        guard let offsets = value["data_offsets"]?.arrayValue, offsets.count == 2,
            case .integer(let start) = offsets[0], case .integer(let end) = offsets[1], start >= 0, end >= start
        else { throw Invalid(reason: "data_offsets is not a pair of rising offsets") }
        guard end - start == bytes else {
            throw Invalid(reason: "\(code) \(dimensions) takes \(bytes) bytes, data_offsets gives it \(end - start)")
        }
        self.init(name: name, dtype: dtype, dimensions: dimensions, range: start..<end)
    }
}

extension DType {
    /// The type behind a safetensors dtype code.
    init?(safetensors code: String) {
        guard let match = DType.allCases.first(where: { $0.safetensorsCode == code }) else { return nil }
        self = match
    }

    /// The code safetensors writes for this type.
    var safetensorsCode: String {
        switch self {
        case .float64: "F64"
        case .float32: "F32"
        case .float16: "F16"
        case .bfloat16: "BF16"
        case .float8e4m3: "F8_E4M3"
        case .float8e5m2: "F8_E5M2"
        case .int64: "I64"
        case .int32: "I32"
        case .int16: "I16"
        case .int8: "I8"
        case .uint64: "U64"
        case .uint32: "U32"
        case .uint16: "U16"
        case .uint8: "U8"
        case .bool: "BOOL"
        }
    }
}
