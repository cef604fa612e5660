/// The bytes of a `data:` address (RFC 2397).
///
/// Parameters may stand before the comma and are ignored, as is the media type: the bytes themselves say what they are.
package enum DataURL {
    /// - Throws: ``ImageError`` of kind `invalidURL`, or `tooManyBytes` before anything is decoded.
    package static func decode(_ text: String, limits: ImageLimits = ImageLimits()) throws(ImageError) -> [UInt8] {
        let utf8 = text.utf8
        guard utf8.count >= 5, utf8.prefix(5).elementsEqual("data:".utf8, by: { $0 | 0x20 == $1 | 0x20 }) else {
            throw invalid("it does not start with data:")
        }
        guard let comma = utf8.firstIndex(of: UInt8(ascii: ",")) else { throw invalid("the data URL has no comma") }
        let header = String(decoding: utf8[utf8.index(utf8.startIndex, offsetBy: 5)..<comma], as: UTF8.self).lowercased()
        let body = utf8[utf8.index(after: comma)...]
        let isBase64 = header.split(separator: ";").last.map { $0.trimmingSpaces() == "base64" } ?? false
        // Encoded bytes are at most three times (percent) or 4/3 (base64) as long; what cannot fit is refused unread.
        let smallest = isBase64 ? body.count / 4 * 3 / 3 : body.count / 3
        try limits.check(bytes: smallest)
        let bytes = try isBase64 ? base64(body) : percentDecoded(body)
        try limits.check(bytes: bytes.count)
        return bytes
    }

    private static func invalid(_ reason: String) -> ImageError {
        ImageError(.invalidURL, reason, fix: "give data:image/png;base64, and the file in base64")
    }

    private static func percentDecoded(_ text: Substring.UTF8View) throws(ImageError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var characters = text.makeIterator()
        while let character = characters.next() {
            guard character == UInt8(ascii: "%") else {
                bytes.append(character)
                continue
            }
            guard let high = characters.next().flatMap(hexDigit), let low = characters.next().flatMap(hexDigit) else {
                throw invalid("the data URL has a percent sign without two hexadecimal digits")
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func hexDigit(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x41...0x46: character - 0x41 + 10
        case 0x61...0x66: character - 0x61 + 10
        default: nil
        }
    }

    /// Base64 (RFC 4648, section 4): white space is skipped; padding may be missing but not wrong; anything else is an error.
    private static func base64(_ text: Substring.UTF8View) throws(ImageError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3 + 3)
        var pool: UInt32 = 0
        var digits = 0, padding = 0
        func take(_ character: UInt8) throws(ImageError) {
            let value: UInt8
            switch character {
            case 0x41...0x5A: value = character - 0x41
            case 0x61...0x7A: value = character - 0x61 + 26
            case 0x30...0x39: value = character - 0x30 + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="):
                padding += 1
                return
            case 0x09, 0x0A, 0x0C, 0x0D, 0x20: return
            default: throw invalid("the data URL's base64 has the character \(describe(character))")
            }
            guard padding == 0 else { throw invalid("the data URL's base64 goes on after its padding") }
            pool = pool << 6 | UInt32(value)
            digits += 1
            if digits % 4 == 0 {
                bytes.append(UInt8(truncatingIfNeeded: pool >> 16))
                bytes.append(UInt8(truncatingIfNeeded: pool >> 8))
                bytes.append(UInt8(truncatingIfNeeded: pool))
            }
        }
        if text.contains(UInt8(ascii: "%")) {
            for character in try percentDecoded(text) { try take(character) }
        } else {
            for character in text { try take(character) }
        }
        let rest = digits % 4
        guard rest != 1, padding == 0 || padding == (4 - rest) % 4 else { throw invalid("the data URL's base64 ends early") }
        if rest >= 2 { bytes.append(UInt8(truncatingIfNeeded: pool >> (rest == 2 ? 4 : 10))) }
        if rest == 3 { bytes.append(UInt8(truncatingIfNeeded: pool >> 2)) }
        return bytes
    }

    private static func describe(_ character: UInt8) -> String {
        (0x21...0x7E).contains(character) ? "'\(Character(UnicodeScalar(character)))'" : "code \(character)"
    }
}

extension Substring {
    fileprivate func trimmingSpaces() -> Substring {
        var trimmed = drop { $0 == " " }
        while trimmed.last == " " { trimmed.removeLast() }
        return trimmed
    }
}
