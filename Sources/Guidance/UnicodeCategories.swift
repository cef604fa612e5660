/// Sets of scalars by general category, from the Unicode data of the standard library.
enum UnicodeCategories {
    /// The set of a category (`Lu`) or of a group of them (`L`); long names with `gc=` or without.
    static func set(named name: String) -> ScalarSet? {
        var short = name
        for prefix in ["gc=", "General_Category="] where short.hasPrefix(prefix) { short.removeFirst(prefix.count) }
        short = longNames[short] ?? short
        let wanted = sets.filter { $0.key == short || (short.count == 1 && $0.key.hasPrefix(short)) }
        return wanted.isEmpty ? nil : ScalarSet(wanted.values.flatMap(\.ranges))
    }

    private static let longNames = [
        "Letter": "L", "Alphabetic": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Mark": "M", "Number": "N",
        "Decimal_Number": "Nd", "Punctuation": "P", "Symbol": "S", "Separator": "Z",
    ]

    /// One pass over all scalars, the first time that an expression asks.
    private static let sets: [String: ScalarSet] = {
        var ranges: [String: [ClosedRange<UInt32>]] = [:]
        var open: (name: String, first: UInt32)?
        for value: UInt32 in 0...0x11_0000 {
            let name = Unicode.Scalar(value).map { shortName($0.properties.generalCategory) }
            if name == open?.name { continue }
            if let open { ranges[open.name, default: []].append(open.first...value - 1) }
            open = name.map { ($0, value) }
        }
        return ranges.mapValues { ScalarSet($0) }
    }()

    private static func shortName(_ category: Unicode.GeneralCategory) -> String {
        switch category {
        case .uppercaseLetter: "Lu"
        case .lowercaseLetter: "Ll"
        case .titlecaseLetter: "Lt"
        case .modifierLetter: "Lm"
        case .otherLetter: "Lo"
        case .nonspacingMark: "Mn"
        case .spacingMark: "Mc"
        case .enclosingMark: "Me"
        case .decimalNumber: "Nd"
        case .letterNumber: "Nl"
        case .otherNumber: "No"
        case .connectorPunctuation: "Pc"
        case .dashPunctuation: "Pd"
        case .openPunctuation: "Ps"
        case .closePunctuation: "Pe"
        case .initialPunctuation: "Pi"
        case .finalPunctuation: "Pf"
        case .otherPunctuation: "Po"
        case .mathSymbol: "Sm"
        case .currencySymbol: "Sc"
        case .modifierSymbol: "Sk"
        case .otherSymbol: "So"
        case .spaceSeparator: "Zs"
        case .lineSeparator: "Zl"
        case .paragraphSeparator: "Zp"
        case .control: "Cc"
        case .format: "Cf"
        case .surrogate: "Cs"
        case .privateUse: "Co"
        case .unassigned: "Cn"
        @unknown default: "Cn"
        }
    }
}
