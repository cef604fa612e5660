/// Reads the fields of one protobuf message, as far as SentencePiece models need it.
struct ProtobufReader {
    /// What a field holds.
    enum Value {
        case varint(UInt64)
        case fixed32(UInt32)
        case fixed64(UInt64)
        case bytes(ArraySlice<UInt8>)
    }

    private let bytes: ArraySlice<UInt8>
    private let file: String
    private var at: Int

    init(_ bytes: ArraySlice<UInt8>, file: String) {
        self.bytes = bytes
        self.file = file
        at = bytes.startIndex
    }

    private func error(_ detail: String) -> TokenizerError {
        TokenizerError(file, "is no SentencePiece model: \(detail) at byte \(at)")
    }

    /// The next field's number and value; nil at the end of the message.
    mutating func next() throws(TokenizerError) -> (field: Int, value: Value)? {
        guard at < bytes.endIndex else { return nil }
        let key = try varint()
        let field = Int(truncatingIfNeeded: key >> 3)
        guard field > 0 else { throw error("field number 0") }
        switch key & 7 {
        case 0: return (field, .varint(try varint()))
        case 1: return (field, .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(bytes.endIndex - at) else { throw error("a field is longer than the file") }
            defer { at += Int(length) }
            return (field, .bytes(bytes[at..<at + Int(length)]))
        case 5: return (field, .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw error("unknown wire type \(key & 7)")
        }
    }

    private mutating func varint() throws(TokenizerError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < bytes.endIndex, shift < 64 {
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw error("a number that does not end")
    }

    private mutating func fixed(_ size: Int) throws(TokenizerError) -> UInt64 {
        guard size <= bytes.endIndex - at else { throw error("a truncated number") }
        var value: UInt64 = 0
        for offset in 0..<size { value |= UInt64(bytes[at + offset]) << UInt64(8 * offset) }
        at += size
        return value
    }
}

extension ProtobufReader.Value {
    var bool: Bool? { if case .varint(let value) = self { value != 0 } else { nil } }
    var int: Int? { if case .varint(let value) = self { Int(truncatingIfNeeded: value) } else { nil } }
    var float: Float? { if case .fixed32(let bits) = self { Float(bitPattern: bits) } else { nil } }
    var bytes: ArraySlice<UInt8>? { if case .bytes(let bytes) = self { bytes } else { nil } }
}
