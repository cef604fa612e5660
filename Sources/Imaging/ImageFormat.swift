/// The format of a file by its first bytes, and names for those that people try and that are not decoded.
enum ImageFormat: Equatable {
    case jpeg, png, webp, gif, bmp
    /// A format that is recognised but not decoded, by name.
    case unsupported(String)
    case unknown

    init(_ bytes: UnsafeRawBufferPointer) {
        self = Self.decoded(bytes) ?? Self.named(bytes).map { .unsupported($0) } ?? .unknown
    }

    private static func decoded(_ bytes: UnsafeRawBufferPointer) -> ImageFormat? {
        if bytes.holds([0xFF, 0xD8, 0xFF]) { return .jpeg }
        if bytes.holds([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        if bytes.holds("RIFF"), bytes.holds("WEBP", at: 8) { return .webp }
        if bytes.holds("GIF87a") || bytes.holds("GIF89a") { return .gif }
        if bytes.holds("BM") { return .bmp }
        return nil
    }

    private static func named(_ bytes: UnsafeRawBufferPointer) -> String? {
        if bytes.holds([0x49, 0x49, 0x2A, 0]) || bytes.holds([0x4D, 0x4D, 0, 0x2A]) { return "TIFF" }
        if bytes.holds([0x49, 0x49, 0x2B, 0]) || bytes.holds([0x4D, 0x4D, 0, 0x2B]) { return "BigTIFF" }
        if bytes.holds("ftyp", at: 4) {
            if bytes.holds("avif", at: 8) || bytes.holds("avis", at: 8) { return "AVIF" }
            let heif: [StaticString] = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"]
            return heif.contains { bytes.holds($0, at: 8) } ? "HEIC" : "a video or other MP4-like file"
        }
        if bytes.holds([0xFF, 0x0A]) || bytes.holds([0, 0, 0, 0x0C, 0x4A, 0x58, 0x4C, 0x20]) { return "JPEG XL" }
        if bytes.holds([0, 0, 0, 0x0C, 0x6A, 0x50, 0x20, 0x20]) || bytes.holds([0xFF, 0x4F, 0xFF, 0x51]) { return "JPEG 2000" }
        if bytes.holds("8BPS") { return "Photoshop" }
        if bytes.holds("%PDF") { return "PDF" }
        if bytes.holds([0, 0, 1, 0]) || bytes.holds([0, 0, 2, 0]) { return "Windows icon" }
        if bytes.holds("qoif") { return "QOI" }
        let netpbm = bytes.count > 2 && bytes[0] == 0x50 && (0x31...0x37).contains(bytes[1]) && bytes[2] <= 0x20
        if netpbm { return "Netpbm" }
        return markup(bytes)
    }

    /// SVG and HTML start with white space, comments or declarations of any length; the first tag decides.
    private static func markup(_ bytes: UnsafeRawBufferPointer) -> String? {
        let head = String(decoding: bytes.prefix(512), as: UTF8.self).lowercased()
        guard head.drop(while: { $0.isWhitespace || $0 == "\u{FEFF}" }).first == "<" else { return nil }
        if head.contains("<svg") { return "SVG" }
        if head.contains("<html") || head.contains("<!doctype html") { return "an HTML page" }
        return nil
    }
}
