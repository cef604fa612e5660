package import JSON

/// Files under `Tests/Fixtures`, found from this source file so that tests run from any folder.
package enum Fixtures {
    /// Absolute path of the fixtures folder.
    package static let root: String = {
        let folder = #filePath.split(separator: "/").dropLast(2)
        return "/" + folder.joined(separator: "/") + "/Fixtures"
    }()

    /// Absolute path of `name`, such as `tokenizers/bpe/tokenizer.json`.
    package static func path(_ name: String) -> String { root + "/" + name }

    package static func bytes(_ name: String) throws -> [UInt8] { try readFile(path(name)) }

    package static func json(_ name: String) throws -> JSONValue { try JSONValue(contentsOf: path(name)) }
}
