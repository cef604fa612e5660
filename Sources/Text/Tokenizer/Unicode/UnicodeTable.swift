/// General categories of all scalars, as Oniguruma (the regex engine of the `tokenizers` library) sees them.
///
/// Two stages of pages of 256 scalars; ASCII is one lookup in the first page.
struct UnicodeTable: Sendable {
    /// Expanded from `UnicodeData` on first use; it takes well under a millisecond.
    static let shared = UnicodeTable()

    /// Page number of each block of 256 scalars.
    private let pageOf: [UInt16]
    /// Codes, 256 per page.
    private let codes: [UInt8]

    private init() {
        var flat = [UInt8](repeating: 0, count: 0x110000)
        var at = 0
        var reader = AsciiReader(UnicodeData.categories)
        while let letter = reader.next() {
            let length = max(1, reader.decimal())
            let code = letter - 64
            for point in at..<at + length { flat[point] = code }
            at += length
        }
        var pageOf = [UInt16](repeating: 0, count: 0x1100)
        var codes: [UInt8] = []
        var uniform = [Int](repeating: -1, count: 32)
        for block in 0..<0x1100 {
            let page = flat[block * 256..<block * 256 + 256]
            let first = page[block * 256]
            let isUniform = page.allSatisfy { $0 == first }
            if isUniform, uniform[Int(first)] >= 0 {
                pageOf[block] = UInt16(uniform[Int(first)])
                continue
            }
            pageOf[block] = UInt16(codes.count / 256)
            if isUniform { uniform[Int(first)] = codes.count / 256 }
            codes.append(contentsOf: page)
        }
        self.pageOf = pageOf
        self.codes = codes
    }

    /// The scalar's code, 0…31, in the order of `CategorySet`'s members.
    @inline(__always)
    func code(_ scalar: UInt32) -> UInt8 {
        codes[Int(pageOf[Int(scalar >> 8)]) << 8 | Int(scalar & 0xFF)]
    }

    @inline(__always)
    func category(_ scalar: UInt32) -> CategorySet { CategorySet(rawValue: 1 << UInt32(code(scalar))) }

    /// Categories of the 128 ASCII characters.
    static let ascii: [CategorySet] = (0..<128).map { shared.category($0) }
}

/// A set of general categories, a bit per category.
struct CategorySet: OptionSet, Sendable, Hashable {
    let rawValue: UInt32

    private static let names = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
        "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn",
    ]

    /// Controls that are white space: U+0009–000D and U+0085.
    private static let spaceControl = CategorySet(rawValue: 1 << 29)
    /// Symbols that are alphabetic, such as circled letters.
    private static let wordSymbol = CategorySet(rawValue: 1 << 30)
    /// Format characters that Oniguruma counts as word characters.
    private static let wordFormat = CategorySet(rawValue: 1 << 31)

    static let uppercase = CategorySet(rawValue: 1 << 0)
    static let lowercase = CategorySet(rawValue: 1 << 1)
    static let letter = CategorySet(rawValue: 0x1F)
    static let mark = CategorySet(rawValue: 0x7 << 5)
    static let decimal = CategorySet(rawValue: 1 << 8)
    static let number = CategorySet(rawValue: 0x7 << 8)
    static let punctuation = CategorySet(rawValue: 0x7F << 11)
    static let symbol: CategorySet = [CategorySet(rawValue: 0xF << 18), wordSymbol]
    static let separator = CategorySet(rawValue: 0x7 << 22)
    static let other: CategorySet = [CategorySet(rawValue: 0xF << 25), spaceControl, wordFormat]
    /// `\s`: the White_Space property.
    static let space: CategorySet = [separator, spaceControl]
    /// `\w` but for six numbers that have no category of their own; see `RegexClass.Part.word`.
    static let word: CategorySet = [
        letter, mark, decimal, CategorySet(rawValue: 1 << 9), CategorySet(rawValue: 1 << 11), wordSymbol, wordFormat,
    ]
    static let all = CategorySet(rawValue: .max)

    /// The set that `\p{name}` matches: a category, or the first letter of several.
    init?(named name: String) {
        let members = Self.names.indices.filter { Self.names[$0].hasPrefix(name) && name.count <= 2 && !name.isEmpty }
        guard !members.isEmpty else { return nil }
        var bits: UInt32 = 0
        for member in members { bits |= 1 << UInt32(member) }
        if Self.names[25].hasPrefix(name) { bits |= Self.spaceControl.rawValue }
        if Self.names[21].hasPrefix(name) { bits |= Self.wordSymbol.rawValue }
        if Self.names[26].hasPrefix(name) { bits |= Self.wordFormat.rawValue }
        self.init(rawValue: bits)
    }

    init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// Reads the letters and numbers of a table kept as text.
struct AsciiReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var at = 0

    init(_ text: StaticString) {
        bytes = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    mutating func next() -> UInt8? {
        guard at < bytes.count else { return nil }
        at += 1
        return bytes[at - 1]
    }

    /// The byte that `next()` would give.
    var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    mutating func decimal() -> Int {
        var value = 0
        while at < bytes.count, bytes[at] &- 48 < 10 {
            value = value * 10 + Int(bytes[at] - 48)
            at += 1
        }
        return value
    }

    mutating func hexadecimal() -> Int {
        var value = 0
        while at < bytes.count {
            if bytes[at] &- 48 < 10 {
                value = value << 4 | Int(bytes[at] - 48)
            } else if bytes[at] &- 97 < 6 {
                value = value << 4 | Int(bytes[at] - 87)
            } else {
                break
            }
            at += 1
        }
        return value
    }
}
