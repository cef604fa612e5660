/// Properties that `\p{…}` and `[[:…:]]` name.
enum RegexProperty {
    static let hexDigit = RegexClass.Part.intersection(
        [.range(0x30, 0x39), .range(0x41, 0x46), .range(0x61, 0x66)], [.range(0, 0x7F)])

    /// The characters of a POSIX class; `punct` there includes symbols, which `\p{Punct}` does not.
    static func bracket(named name: String) -> RegexClass.Part? {
        name == "punct" ? .categories(CategorySet.punctuation.union(.symbol)) : part(named: name)
    }

    /// The characters of a property; nil when the name is unknown.
    ///
    /// Names are compared without regard to case, spaces, `-` and `_`, as Oniguruma does.
    static func part(named name: String) -> RegexClass.Part? {
        if let categories = CategorySet(named: name) { return .categories(categories) }
        switch String(name.lowercased().filter { !" -_".contains($0) }) {
        case "letter": return .categories(.letter)
        case "mark": return .categories(.mark)
        case "number": return .categories(.number)
        case "punctuation": return .categories(.punctuation)
        case "symbol": return .categories(.symbol)
        case "separator": return .categories(.separator)
        case "other": return .categories(.other)
        case "any": return .range(0, 0x10FFFF)
        case "ascii": return .range(0, 0x7F)
        case "digit", "nd": return .categories(.decimal)
        case "space", "whitespace": return .categories(.space)
        case "word": return .word
        // `\w` of Rust's regex crate, for the Whitespace pre-tokenizer.
        case "rustword": return .set(.rustWord)
        case "xdigit": return hexDigit
        case let key: return UnicodeScriptRanges.set(named: key).map { .set($0) }
        }
    }
}
