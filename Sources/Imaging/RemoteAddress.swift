/// An http or https address, parsed strictly: whatever two parsers could read differently is refused.
struct RemoteAddress: Equatable {
    let scheme: String
    /// A name of letters, digits, dots, hyphens and underscores, or an IPv6 literal without its brackets.
    let host: String
    let port: Int
    /// Path and query, percent-encoded.
    let target: String

    var isIPv6: Bool { host.contains(":") }

    /// The whole address, rebuilt from its parts.
    var url: String { "\(scheme)://\(isIPv6 ? "[\(host)]" : host):\(port)\(target)" }

    init(_ text: String) throws(ImageError) {
        func invalid(_ reason: String) -> ImageError {
            ImageError(.invalidURL, reason, fix: "give an address such as https://example.org/picture.jpg")
        }
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else {
            throw invalid("the address has no scheme")
        }
        scheme = text[..<colon].lowercased()
        guard scheme == "http" || scheme == "https" else {
            throw invalid("addresses of the scheme \(scheme) are not fetched, only http and https")
        }
        let rest = text[colon...].dropFirst(3)
        let end = rest.firstIndex { "/?#\\".contains($0) } ?? rest.endIndex
        var authority = String(rest[..<end])
        guard !authority.contains("@") else { throw invalid("the address holds a user name or password") }

        var stated: String?
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { throw invalid("the address has an unclosed bracket") }
            let tail = authority[authority.index(after: close)...]
            guard tail.isEmpty || tail.hasPrefix(":") else { throw invalid("the address has text after its bracket") }
            stated = tail.isEmpty ? nil : String(tail.dropFirst())
            authority = String(authority[authority.index(after: authority.startIndex)..<close]).lowercased()
            guard authority.contains(":"), authority.utf8.allSatisfy({ "0123456789abcdef:.".utf8.contains($0) }) else {
                throw invalid("the address has a malformed IPv6 host")
            }
        } else {
            if let colon = authority.firstIndex(of: ":") {
                stated = String(authority[authority.index(after: colon)...])
                authority = String(authority[..<colon])
            }
            authority = authority.lowercased()
            let allowed = "abcdefghijklmnopqrstuvwxyz0123456789.-_".utf8
            guard !authority.isEmpty, authority.utf8.count <= 253, authority.utf8.allSatisfy({ allowed.contains($0) }) else {
                throw invalid("the address has no host, or one with characters other than letters, digits, dots and hyphens")
            }
        }
        host = authority
        let standard = scheme == "https" ? 443 : 80
        if let stated, !stated.isEmpty {
            guard stated.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(stated), (1...65535).contains(number)
            else { throw invalid("the address has the port \(stated)") }
            port = number
        } else {
            port = standard
        }
        target = Self.encoded(rest[end...].prefix { $0 != "#" })
    }

    /// Keeps what an address may hold and percent-encodes the rest; a backslash is encoded and no separator.
    private static func encoded(_ text: Substring) -> String {
        let kept = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?[]@!$&'()*+,;=%".utf8
        var out = text.hasPrefix("/") ? "" : "/"
        for byte in text.utf8 {
            if kept.contains(byte) {
                out.unicodeScalars.append(UnicodeScalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                out += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return out
    }
}
