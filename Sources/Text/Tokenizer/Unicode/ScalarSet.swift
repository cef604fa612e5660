/// A set of scalars for the character tests of pre-tokenizers and normalizers.
struct ScalarSet: Sendable {
    private let categories: CategorySet
    /// Bounds of further members: sorted starts and ends (exclusive).
    private let starts: [UInt32]
    private let ends: [UInt32]

    init(categories: CategorySet) {
        self.categories = categories
        starts = []
        ends = []
    }

    init(_ scalar: Unicode.Scalar) {
        categories = []
        starts = [scalar.value]
        ends = [scalar.value + 1]
    }

    /// Members written as alternating gap and length in hexadecimal.
    init(ranges text: StaticString) {
        categories = []
        var starts: [UInt32] = []
        var ends: [UInt32] = []
        var reader = AsciiReader(text)
        var at = 0
        while reader.peek != nil {
            at += reader.hexadecimal()
            _ = reader.next()
            starts.append(UInt32(at))
            at += reader.hexadecimal()
            ends.append(UInt32(at))
            _ = reader.next()
        }
        self.starts = starts
        self.ends = ends
    }

    func contains(_ scalar: UInt32) -> Bool {
        if !categories.isEmpty { return categories.contains(UnicodeTable.shared.category(scalar)) }
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= scalar { low = middle + 1 } else { high = middle }
        }
        return low > 0 && scalar < ends[low - 1]
    }

    /// Rust's `char::is_whitespace`: White_Space.
    static let whitespace = ScalarSet(categories: .space)
    /// Rust's `char::is_numeric`.
    static let numeric = ScalarSet(ranges: UnicodeData.numeric)
    /// ASCII punctuation and general category P, of the `unicode_categories` crate.
    static let punctuation = ScalarSet(ranges: UnicodeData.punctuation)
    /// `\w` of the `regex` crate.
    static let rustWord = ScalarSet(ranges: UnicodeData.rustWord)
    /// What BertNormalizer removes when it cleans text.
    static let bertControl = ScalarSet(ranges: UnicodeData.bertControl)
    /// Nonspacing marks as BertNormalizer removes them to strip accents.
    static let bertNonspacing = ScalarSet(ranges: UnicodeData.bertNonspacing)
    /// Combining marks as StripAccents removes them.
    static let accents = ScalarSet(ranges: UnicodeData.accents)
}
