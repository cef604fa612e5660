import Foundation

/// Where a picture comes from.
public enum ImageSource: Sendable, Equatable {
    /// A file in any decoded format, by path.
    case path(String)
    /// An `http`, `https`, `file` or `data` address.
    case url(String)
    /// The bytes of a file.
    case data([UInt8])
    /// Pixels that are already decoded.
    case image(RGBImage)

    /// An address if the text starts with a scheme, else a path.
    public init(_ text: String) {
        self = Self.scheme(of: text) == nil ? .path(text) : .url(text)
    }

    /// The scheme in lower case: letters before "://", or `data` and `file` before a colon.
    static func scheme(of text: String) -> String? {
        guard let colon = text.utf8.prefix(16).firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let scheme = text[..<colon].lowercased()
        guard scheme.count > 1, scheme.utf8.allSatisfy({ (0x61...0x7A).contains($0) }) else { return nil }
        return scheme == "data" || scheme == "file" || text[colon...].hasPrefix("://") ? scheme : nil
    }

    /// How errors name the source: addresses shortened, data URLs and bytes by their size.
    package var name: String {
        switch self {
        case .path(let path): path
        case .url(let url): Self.shortened(url)
        case .data(let bytes): "\(bytes.count) bytes"
        case .image(let image): "\(image.width)x\(image.height) decoded pixels"
        }
    }

    static func shortened(_ url: String) -> String {
        let length = url.utf8.count
        let isData = scheme(of: url) == "data"
        let kept = isData ? 40 : 160
        guard length > kept else { return url }
        return "\(url.prefix(kept))\u{2026} (\(length) characters)"
    }

    /// The path that a file URL means.
    static func path(ofFileURL url: String) throws(ImageError) -> String {
        func invalid(_ reason: String) -> ImageError {
            ImageError(.invalidURL, reason, fix: "write file:///folder/picture.jpg, or the path alone")
        }
        var rest = url.dropFirst("file:".count)
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            let host = rest.prefix { $0 != "/" }
            guard host.isEmpty || host.lowercased() == "localhost" else {
                throw invalid("the file URL names the host \(host)")
            }
            rest = rest.dropFirst(host.count)
        }
        guard let path = String(rest).removingPercentEncoding, !path.contains("\0") else {
            throw invalid("the file URL has a malformed percent sign")
        }
        guard !path.isEmpty else { throw invalid("the file URL names no file") }
        return path
    }
}
