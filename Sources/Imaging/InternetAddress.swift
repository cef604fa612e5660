import CCurl

/// An IPv4 or IPv6 address, and whether it belongs to the public internet.
package struct InternetAddress: Sendable, Equatable {
    /// 4 or 16 bytes in network order.
    package let bytes: [UInt8]
    /// As people write it.
    package let text: String

    /// Whether anybody on the internet could be meant. Private, loopback, link-local, shared (CGNAT), multicast, reserved,
    /// documentation and unspecified addresses are not public, nor are IPv4 addresses dressed up as IPv6.
    /// From the special-purpose registries of IANA (RFC 6890).
    package var isPublic: Bool {
        bytes.count == 4 ? Self.isPublicV4(bytes[...]) : bytes.count == 16 && Self.isPublicV6(bytes)
    }

    private static func isPublicV4(_ bytes: ArraySlice<UInt8>) -> Bool {
        let address = bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let special: [(UInt32, UInt32)] = [
            (0x0000_0000, 8), (0x0A00_0000, 8), (0x6440_0000, 10), (0x7F00_0000, 8), (0xA9FE_0000, 16), (0xAC10_0000, 12),
            (0xC000_0000, 24), (0xC000_0200, 24), (0xC058_6300, 24), (0xC0A8_0000, 16), (0xC612_0000, 15), (0xC633_6400, 24),
            (0xCB00_7100, 24), (0xE000_0000, 4), (0xF000_0000, 4),
        ]
        return !special.contains { (address ^ $0.0) >> (32 - $0.1) == 0 }
    }

    private static func isPublicV6(_ bytes: [UInt8]) -> Bool {
        // NAT64: the address is public if the one it stands for is.
        if bytes.starts(with: [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]) { return isPublicV4(bytes[12...]) }
        // Global unicast is 2000::/3; inside it are protocol assignments with Teredo (2001::/23), documentation, and 6to4.
        guard bytes[0] & 0xE0 == 0x20 else { return false }
        if bytes.starts(with: [0x20, 0x01]), bytes[2] < 2 { return false }
        if bytes.starts(with: [0x20, 0x01, 0x0D, 0xB8]) || bytes.starts(with: [0x20, 0x02]) { return false }
        return !(bytes[0] == 0x3F && bytes[1] == 0xFF && bytes[2] & 0xF0 == 0)
    }

    /// All addresses of a host, or of a literal address. Blocks, for as long as the system's resolver takes.
    package static func resolve(_ host: String) throws(ImageError) -> [InternetAddress] {
        var message = [CChar](repeating: 0, count: Int(CCURL_MESSAGE_SIZE))
        var found = [ccurl_address](repeating: ccurl_address(), count: 32)
        let count = ccurl_resolve(host, &found, Int32(found.count), &message)
        guard count > 0 else {
            let reason = count == 0 ? "no address" : string(fromC: message)
            throw ImageError(.network, "the host \(host) cannot be resolved: \(reason)", fix: "check the address and the network")
        }
        return found.prefix(Int(count)).map { address in
            InternetAddress(
                bytes: withUnsafeBytes(of: address.bytes) { Array($0.prefix(Int(address.count))) },
                text: withUnsafeBytes(of: address.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
    }

    package init(bytes: [UInt8], text: String) {
        self.bytes = bytes
        self.text = text
    }
}

/// A C string in an array, up to its zero.
func string(fromC characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
