import JSON

/// An object of `tokenizer.json` with its path, for reading components with errors that name file and place.
struct ComponentReader {
    let value: JSONValue
    let path: String
    let file: String

    var culprit: String { "\(file) at \(path)" }

    func error(_ detail: String) -> TokenizerError { TokenizerError(culprit, detail) }

    subscript(key: String) -> ComponentReader? {
        guard let member = value[key], !member.isNull else { return nil }
        return ComponentReader(value: member, path: "\(path).\(key)", file: file)
    }

    func type() throws(TokenizerError) -> String {
        guard let type = value["type"]?.stringValue else { throw error("expected an object with a 'type'") }
        return type
    }

    func member(_ key: String) throws(TokenizerError) -> ComponentReader {
        guard let member = self[key] else { throw error("'\(key)' is missing") }
        return member
    }

    func string(_ key: String, default fallback: String? = nil) throws(TokenizerError) -> String {
        guard let member = self[key] else {
            if let fallback { return fallback }
            throw error("'\(key)' is missing")
        }
        guard let text = member.value.stringValue else {
            throw member.error("expected a string, found \(member.value.kindName)")
        }
        return text
    }

    func bytes(_ key: String, default fallback: String? = nil) throws(TokenizerError) -> [UInt8] {
        Array(try string(key, default: fallback).utf8)
    }

    func bool(_ key: String, default fallback: Bool) throws(TokenizerError) -> Bool {
        guard let member = self[key] else { return fallback }
        guard let flag = member.value.boolValue else {
            throw member.error("expected true or false, found \(member.value.kindName)")
        }
        return flag
    }

    func int(_ key: String, default fallback: Int? = nil, in range: ClosedRange<Int>) throws(TokenizerError) -> Int {
        guard let member = self[key] else {
            if let fallback { return fallback }
            throw error("'\(key)' is missing")
        }
        guard let number = member.value.intValue, range.contains(number) else {
            throw member.error("expected an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func elements(_ key: String) throws(TokenizerError) -> [ComponentReader] {
        let member = try member(key)
        guard let array = member.value.arrayValue else {
            throw member.error("expected an array, found \(member.value.kindName)")
        }
        return array.enumerated().map { ComponentReader(value: $1, path: "\(member.path)[\($0)]", file: file) }
    }

    /// A pattern written `{"String": …}` or `{"Regex": …}`.
    func pattern(_ key: String) throws(TokenizerError) -> SplitPattern {
        let member = try member(key)
        if let literal = member.value["String"]?.stringValue {
            // The library makes a regular expression of it, and an empty one matches everywhere.
            return literal.isEmpty ? .regex(try Regex("", culprit: member.culprit)) : .literal(Array(literal.utf8))
        }
        guard let source = member.value["Regex"]?.stringValue else {
            throw member.error("expected {\"String\": …} or {\"Regex\": …}")
        }
        return try SplitPattern(regex: source, culprit: member.culprit)
    }
}
