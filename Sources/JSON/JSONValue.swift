/// A JSON document or a part of one.
package enum JSONValue: Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction or exponent that fits in 64 bits.
    case integer(Int)
    /// Any other number, including the `NaN` and `Infinity` that Python's `json` writes.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

extension JSONValue: Equatable {
    /// Strings are compared by bytes, objects without regard to order; `integer(1)` and `number(1)` differ.
    package static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a == b
        default: false
        }
    }
}

extension JSONValue {
    /// Parses a whole document.
    ///
    /// The grammar is that of Python's `json.loads`: RFC 8259 plus `NaN`, `Infinity` and `-Infinity`; of a repeated key the
    /// last value wins; integers beyond 64 bits become `number`. A lone surrogate escape, which Python keeps, is refused,
    /// since no UTF-8 text can hold it.
    /// - Parameter source: what to call the document in errors, usually a file name.
    package init(parsing bytes: some Collection<UInt8>, source: String) throws(JSONError) {
        let result: Result<JSONValue, JSONError> = withBytes(of: bytes) { buffer in
            Result { () throws(JSONError) in
                var reader = JSONReader(buffer, source: source)
                let value = try reader.readValue()
                try reader.finish()
                return value
            }
        }
        self = try result.get()
    }

    /// Parses a whole document held in a string.
    package init(parsing text: String, source: String) throws(JSONError) {
        try self.init(parsing: text.utf8, source: source)
    }

    /// Reads and parses a file.
    package init(contentsOf path: String) throws(JSONError) {
        try self.init(parsing: readFile(path), source: path)
    }
}

extension JSONValue {
    package var isNull: Bool { if case .null = self { true } else { false } }
    package var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    package var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    package var arrayValue: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    package var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// The value as an integer, also when it was written as a float without fraction (`1e3`, `2.0`).
    package var intValue: Int? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The value as a float, whichever way it was written.
    package var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// A member of an object; nil when this is no object or has no such member.
    package subscript(key: String) -> JSONValue? {
        if case .object(let object) = self { object[key] } else { nil }
    }

    /// An element of an array; nil when this is no array or is too short.
    package subscript(position: Int) -> JSONValue? {
        if case .array(let array) = self, array.indices.contains(position) { array[position] } else { nil }
    }

    /// The kind of this value in the words of JSON, for error messages.
    package var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .number(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(JSONObject(elements)) }
    package init(nilLiteral: ()) { self = .null }
}
