/// A character class of a regular expression: `[…]`, `\p{…}`, `\s`, a literal character or `.`.
struct RegexClass: Sendable {
    /// What a class is made of; a scalar belongs if any part holds it.
    indirect enum Part: Sendable {
        case categories(CategorySet)
        /// Lowest and highest scalar.
        case range(UInt32, UInt32)
        case set(ScalarSet)
        case union([Part])
        case negated([Part])
        case intersection([Part], [Part])

        func contains(_ scalar: UInt32, _ category: CategorySet) -> Bool {
            switch self {
            case .categories(let set): set.contains(category)
            case .range(let low, let high): low <= scalar && scalar <= high
            case .set(let set): set.contains(scalar)
            case .union(let parts): parts.contains { $0.contains(scalar, category) }
            case .negated(let parts): !parts.contains { $0.contains(scalar, category) }
            case .intersection(let a, let b):
                a.contains { $0.contains(scalar, category) } && b.contains { $0.contains(scalar, category) }
            }
        }
    }

    /// Members below 128, one bit each.
    private let ascii: (UInt64, UInt64)
    /// Members at and above 128 when categories alone decide; nil otherwise.
    private let wide: CategorySet?
    private let parts: [Part]

    init(_ parts: [Part], ignoringCase: Bool = false) {
        let parts = ignoringCase ? [.foldClosure(of: parts)] : parts
        self.parts = parts
        var bits: (UInt64, UInt64) = (0, 0)
        for scalar in UInt32(0)..<128 where parts.contains(where: { $0.contains(scalar, UnicodeTable.ascii[Int(scalar)]) }) {
            if scalar < 64 { bits.0 |= 1 << scalar } else { bits.1 |= 1 << (scalar - 64) }
        }
        ascii = bits
        wide = Part.wideCategories(parts)
    }

    @inline(__always)
    func contains(_ scalar: UInt32) -> Bool {
        if scalar < 64 { return ascii.0 >> UInt64(scalar) & 1 != 0 }
        if scalar < 128 { return ascii.1 >> UInt64(scalar - 64) & 1 != 0 }
        let category = UnicodeTable.shared.category(scalar)
        if let wide { return wide.contains(category) }
        return parts.contains { $0.contains(scalar, category) }
    }

    /// Whether an ASCII byte is a member.
    func contains(ascii byte: UInt8) -> Bool { contains(UInt32(byte)) }

    static let any = RegexClass([.range(0, 0x10FFFF)])
    static let anyButNewline = RegexClass([.negated([.range(0x0A, 0x0A)])])
    static let word = RegexClass([.word])
}

extension RegexClass.Part {
    /// `\w` of Oniguruma, which counts Latin-1's superscripts and fractions but no other numbers of category No.
    static let word = RegexClass.Part.union([
        .categories(.word), .range(0xB2, 0xB3), .range(0xB9, 0xB9), .range(0xBC, 0xBE),
    ])

    /// The categories that decide membership above ASCII, if nothing else does.
    fileprivate static func wideCategories(_ parts: [Self]) -> CategorySet? {
        var result: CategorySet = []
        for part in parts {
            switch part {
            case .categories(let set): result.formUnion(set)
            case .range(_, let high) where high < 128: break
            case .range(let low, let high) where low == 0 && high == 0x10FFFF: result = .all
            case .union(let inner):
                guard let set = wideCategories(inner) else { return nil }
                result.formUnion(set)
            case .negated(let inner):
                guard let set = wideCategories(inner) else { return nil }
                result.formUnion(CategorySet.all.subtracting(set))
            default: return nil
            }
        }
        return result
    }

    /// A class that also holds every scalar which differs from a member in case only.
    fileprivate static func foldClosure(of parts: [Self]) -> Self {
        var folded: [Self] = parts
        for part in parts {
            guard case .range(let low, let high) = part, high - low < 0x400 else { continue }
            for scalar in low...high {
                for other in caseVariants(of: scalar) where other != scalar { folded.append(.range(other, other)) }
            }
        }
        return .union(folded)
    }

    /// The scalars that simple case folding equates with `scalar`.
    private static func caseVariants(of scalar: UInt32) -> [UInt32] {
        guard let character = Unicode.Scalar(scalar) else { return [] }
        func single(_ text: String) -> UInt32? { text.unicodeScalars.count == 1 ? text.unicodeScalars.first?.value : nil }
        var variants = [single(character.properties.lowercaseMapping), single(character.properties.uppercaseMapping)]
            .compactMap { $0 }
        // Letters beyond ASCII that fold to ASCII ones.
        if scalar | 0x20 == 0x73 { variants.append(0x17F) }
        if scalar | 0x20 == 0x6B { variants.append(0x212A) }
        return variants
    }
}
