package import JSON

/// One object of a configuration file, with the file and the JSON path that lead to it.
///
/// Every accessor throws a ``CheckpointError`` of kind `invalidConfig` that names file and path when a key is absent or its value
/// has another type. A key that holds `null` counts as absent, as transformers treats `None`; ``isNull(_:)`` tells them apart.
package struct ConfigReader: Sendable {
    package let object: JSONObject
    /// The file, for errors.
    package let file: String
    /// Keys from the root of the file to this object; empty at the root.
    package let path: [String]

    package init(_ object: JSONObject, file: String, path: [String] = []) {
        self.object = object
        self.file = file
        self.path = path
    }

    /// Reads the root object of a JSON file.
    ///
    /// - Throws: ``CheckpointError`` of kind `unreadable` or `invalidConfig`, with line and column where JSON breaks.
    package init(contentsOf path: String) throws(CheckpointError) {
        let bytes: [UInt8]
        do { bytes = try readFile(path) } catch {
            throw CheckpointError(.unreadable, source: path, detail: error.message)
        }
        try self.init(parsing: bytes, file: path)
    }

    /// Reads the root object of JSON text; `file` is for errors.
    package init(parsing bytes: [UInt8], file: String) throws(CheckpointError) {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes, source: file) } catch {
            let place = error.line > 0 ? " at line \(error.line), column \(error.column)" : ""
            throw CheckpointError(.invalidConfig, source: file, detail: "it is not JSON\(place): \(error.message)")
        }
        try self.init(root, file: file)
    }

    private init(_ root: JSONValue, file: String) throws(CheckpointError) {
        guard let object = root.objectValue else {
            throw CheckpointError(
                .invalidConfig, source: file, detail: "the root is \(ConfigReader.typeName(root)), not an object")
        }
        self.init(object, file: file)
    }

    // MARK: Presence

    /// Whether `key` is there with a value other than `null`.
    package func has(_ key: String) -> Bool { value(key) != nil }
    /// Whether `key` is there and is `null`.
    package func isNull(_ key: String) -> Bool { object[key] == .null }
    /// The value of `key`, or nil when absent or `null`.
    package func value(_ key: String) -> JSONValue? {
        guard let value = object[key], value != .null else { return nil }
        return value
    }

    // MARK: Required values

    package func int(_ key: String) throws -> Int { try required(key, intIfPresent(key), "an integer") }
    package func double(_ key: String) throws -> Double { try required(key, doubleIfPresent(key), "a number") }
    package func float(_ key: String) throws -> Float { try Float(double(key)) }
    package func bool(_ key: String) throws -> Bool { try required(key, boolIfPresent(key), "a boolean") }
    package func string(_ key: String) throws -> String { try required(key, stringIfPresent(key), "a string") }
    package func ints(_ key: String) throws -> [Int] { try required(key, intsIfPresent(key), "a list of integers") }
    package func doubles(_ key: String) throws -> [Double] { try required(key, doublesIfPresent(key), "a list of numbers") }
    package func floats(_ key: String) throws -> [Float] { try doubles(key).map(Float.init) }
    package func strings(_ key: String) throws -> [String] { try required(key, stringsIfPresent(key), "a list of strings") }
    package func object(_ key: String) throws -> ConfigReader { try required(key, objectIfPresent(key), "an object") }

    /// A positive integer, such as a width or a number of layers.
    package func positive(_ key: String) throws -> Int { try positive(key, int(key)) }
    package func positive(_ key: String, default fallback: Int) throws -> Int { try positive(key, int(key, default: fallback)) }

    private func positive(_ key: String, _ value: Int) throws -> Int {
        guard value > 0 else { throw invalid(key, "is \(value), a positive integer is needed") }
        return value
    }

    // MARK: Values with a default

    package func int(_ key: String, default fallback: Int) throws -> Int { try intIfPresent(key) ?? fallback }
    package func double(_ key: String, default fallback: Double) throws -> Double { try doubleIfPresent(key) ?? fallback }
    package func float(_ key: String, default fallback: Float) throws -> Float {
        try doubleIfPresent(key).map { Float($0) } ?? fallback
    }
    package func bool(_ key: String, default fallback: Bool) throws -> Bool { try boolIfPresent(key) ?? fallback }
    package func string(_ key: String, default fallback: String) throws -> String { try stringIfPresent(key) ?? fallback }
    package func ints(_ key: String, default fallback: [Int]) throws -> [Int] { try intsIfPresent(key) ?? fallback }
    package func floats(_ key: String, default fallback: [Float]) throws -> [Float] {
        try doublesIfPresent(key)?.map { Float($0) } ?? fallback
    }

    // MARK: Optional values

    package func intIfPresent(_ key: String) throws -> Int? {
        try converted(key, "an integer") { ConfigReader.integer($0) }
    }
    package func doubleIfPresent(_ key: String) throws -> Double? { try converted(key, "a number") { $0.doubleValue } }
    package func boolIfPresent(_ key: String) throws -> Bool? { try converted(key, "a boolean") { $0.boolValue } }
    package func stringIfPresent(_ key: String) throws -> String? { try converted(key, "a string") { $0.stringValue } }
    package func intsIfPresent(_ key: String) throws -> [Int]? {
        try list(key, "a list of integers") { ConfigReader.integer($0) }
    }
    package func doublesIfPresent(_ key: String) throws -> [Double]? { try list(key, "a list of numbers") { $0.doubleValue } }
    package func stringsIfPresent(_ key: String) throws -> [String]? { try list(key, "a list of strings") { $0.stringValue } }
    package func objectIfPresent(_ key: String) throws -> ConfigReader? {
        try converted(key, "an object") { $0.objectValue }.map { ConfigReader($0, file: file, path: path + [key]) }
    }
    /// An integer or a list of integers, as `eos_token_id` may be either; empty when absent.
    package func intOrInts(_ key: String) throws -> [Int] {
        try converted(key, "an integer or a list of integers") { value in
            if let one = ConfigReader.integer(value) { return [one] }
            guard let list = value.arrayValue else { return nil }
            let all = list.compactMap { ConfigReader.integer($0) }
            return all.count == list.count ? all : nil
        } ?? []
    }

    /// A list of lists of integers.
    package func listOfInts(_ key: String) throws -> [[Int]] {
        try required(
            key,
            list(key, "a list of lists of integers") { element in
                guard let numbers = element.arrayValue else { return nil }
                let all = numbers.compactMap { ConfigReader.integer($0) }
                return all.count == numbers.count ? all : nil
            }, "a list of lists of integers")
    }

    // MARK: Errors

    /// An error that names this file and the path of `key`.
    package func invalid(_ key: String, _ problem: String, hint: String = "") -> CheckpointError {
        CheckpointError(.invalidConfig, source: file, detail: "\(pathText(key)) \(problem)", hint: hint)
    }

    /// `text_config.rope_scaling.factor`
    package func pathText(_ key: String) -> String { (path + [key]).joined(separator: ".") }

    // MARK: Conversion

    private func required<Value>(_ key: String, _ value: Value?, _ expected: String) throws -> Value {
        guard let value else {
            throw invalid(key, isNull(key) ? "is null, \(expected) is needed" : "is missing, \(expected) is needed")
        }
        return value
    }

    private func converted<Value>(_ key: String, _ expected: String, _ convert: (JSONValue) -> Value?) throws -> Value? {
        guard let value = value(key) else { return nil }
        guard let result = convert(value) else {
            throw invalid(key, "is \(ConfigReader.typeName(value)), \(expected) is needed")
        }
        return result
    }

    private func list<Value>(_ key: String, _ expected: String, _ convert: (JSONValue) -> Value?) throws -> [Value]? {
        try converted(key, expected) { value in
            guard let elements = value.arrayValue else { return nil }
            let all = elements.compactMap(convert)
            return all.count == elements.count ? all : nil
        }
    }

    /// Python reads `4.0` where an integer is meant without complaint; so do we when nothing is lost.
    private static func integer(_ value: JSONValue) -> Int? {
        switch value {
        case .integer(let integer): integer
        case .number(let number): Int(exactly: number)
        default: nil
        }
    }

    private static func typeName(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let bool): "the boolean \(bool)"
        case .integer(let integer): "the integer \(integer)"
        case .number(let number): "the number \(number)"
        case .string(let string): "the string \"\(string.prefix(40))\""
        case .array: "a list"
        case .object: "an object"
        }
    }
}
