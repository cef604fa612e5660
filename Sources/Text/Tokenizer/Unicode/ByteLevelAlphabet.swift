/// GPT-2's printable spelling of bytes: each byte has a character, so that any byte string is readable text.
enum ByteLevelAlphabet {
    /// Scalar of each byte: printable Latin-1 stands for itself, the others take U+0100 upwards in order.
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            if 0x21...0x7E ~= byte || 0xA1...0xAC ~= byte || 0xAE...0xFF ~= byte { return UInt32(byte) }
            defer { next += 1 }
            return next
        }
    }()

    /// Byte of each scalar below U+0144, or -1.
    private static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
        return table
    }()

    /// The byte that a scalar spells, if it belongs to the alphabet.
    @inline(__always)
    static func byte(of scalar: UInt32) -> UInt8? {
        guard scalar < 0x144 else { return nil }
        let byte = bytes[Int(scalar)]
        return byte < 0 ? nil : UInt8(truncatingIfNeeded: byte)
    }

    /// The UTF-8 spelling of a byte.
    static func text(of byte: UInt8) -> [UInt8] {
        var text: [UInt8] = []
        text.append(scalar: scalars[Int(byte)])
        return text
    }

    /// Appends the spelling of `bytes`.
    static func spell(_ bytes: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        for byte in bytes { output.append(scalar: scalars[Int(byte)]) }
    }

    /// Appends the bytes that `text` spells, or `text` itself if any of its characters is outside the alphabet.
    static func decode(_ text: UnsafeBufferPointer<UInt8>, into output: inout [UInt8]) {
        let start = output.count
        var at = 0
        while at < text.count {
            let (scalar, length) = decodeScalar(text, at)
            guard let byte = byte(of: scalar) else {
                output.removeLast(output.count - start)
                output.append(contentsOf: text)
                return
            }
            output.append(byte)
            at += length
        }
    }

    /// The tokens that are spelled wholly in the alphabet, keyed by the bytes they stand for.
    static func rawVocabulary(of vocabulary: Vocabulary) -> Vocabulary {
        var result = Vocabulary(expected: vocabulary.count)
        var raw: [UInt8] = []
        vocabulary.forEach { text, id in
            raw.removeAll(keepingCapacity: true)
            var at = 0
            while at < text.count {
                let (scalar, length) = decodeScalar(text, at)
                guard let byte = byte(of: scalar) else { return }
                raw.append(byte)
                at += length
            }
            result.insert(raw, id: id)
        }
        return result
    }
}
