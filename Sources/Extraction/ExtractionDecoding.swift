package import Foundation
import JSON

/// Values from the JSON that a schema allows.
package enum ExtractionDecoding {
    /// Decodes a document: `Date` from a day or point in time of ISO 8601, `URL` and `Decimal` from a text and a number.
    ///
    /// Foundation's decoder says of a number that does not fit, and of a document that ends early, that the data is no JSON; this one
    /// names the place.
    ///
    /// - Throws: `DecodingError`, or `JSONError` for a document that is no JSON.
    package static func decode<Value: Decodable>(_ type: Value.Type, from json: [UInt8]) throws -> Value {
        try ValueDecoder(value: JSONValue(parsing: json, source: "the answer"), codingPath: []).decode(type)
    }

    /// `2026-03-31`, `2026-03-31T10:00:00`, with or without a zone; UTC without one.
    package static func date(_ text: String) -> Date? {
        switch text.utf8.count {
        case ...10: try? Date.ISO8601FormatStyle().year().month().day().parse(text)
        case 19: try? Date.ISO8601FormatStyle().parse(text + "Z")
        default: try? Date.ISO8601FormatStyle().parse(text)
        }
    }
}

/// Decodes one value of a document.
private struct ValueDecoder: Decoder, SingleValueDecodingContainer {
    let value: JSONValue
    let codingPath: [any CodingKey]

    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard let object = value.objectValue else { throw mismatch([String: Any].self, "an object") }
        return KeyedDecodingContainer(ObjectDecoder(object: object, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard let elements = value.arrayValue else { throw mismatch([Any].self, "an array") }
        return ListDecoder(elements: elements, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    func decodeNil() -> Bool { value.isNull }

    func decode(_ type: Bool.Type) throws -> Bool { try require(value.boolValue, type, "true or false") }
    func decode(_ type: String.Type) throws -> String { try require(value.stringValue, type, "a text") }
    func decode(_ type: Double.Type) throws -> Double { try finite() }
    func decode(_ type: Float.Type) throws -> Float {
        let number = Float(try finite())
        guard number.isFinite else { throw corrupted("\(value.serialized()) does not fit Float") }
        return number
    }
    func decode(_ type: Int.Type) throws -> Int { try integer() }
    func decode(_ type: Int8.Type) throws -> Int8 { try integer() }
    func decode(_ type: Int16.Type) throws -> Int16 { try integer() }
    func decode(_ type: Int32.Type) throws -> Int32 { try integer() }
    func decode(_ type: Int64.Type) throws -> Int64 { try integer() }
    func decode(_ type: UInt.Type) throws -> UInt { try integer() }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer() }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer() }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try integer() }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer() }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        // These three encode themselves in ways of their own unless a decoder knows better.
        if type == Date.self {
            let text = try decode(String.self)
            return try known(ExtractionDecoding.date(text), "\"\(text)\" is no date of ISO 8601")
        }
        if type == URL.self {
            let text = try decode(String.self)
            return try known(URL(string: text), "\"\(text)\" is no URL")
        }
        if type == Decimal.self {
            if case .integer(let number) = value { return try known(Decimal(number), "") }
            return try known(Decimal(string: pythonRepr(try finite())), "\(value.serialized()) does not fit Decimal")
        }
        return try Value(from: self)
    }

    private func known<Value>(_ result: (some Any)?, _ reason: String) throws -> Value {
        guard let result = result as? Value else { throw corrupted(reason) }
        return result
    }

    private func require<Value>(_ result: Value?, _ type: Value.Type, _ expected: String) throws -> Value {
        guard let result else { throw mismatch(type, expected) }
        return result
    }

    private func finite() throws -> Double {
        let number = try require(value.doubleValue, Double.self, "a number")
        guard number.isFinite else { throw corrupted("the number does not fit Double") }
        return number
    }

    private func integer<Number: FixedWidthInteger>() throws -> Number {
        let number = try require(value.doubleValue, Double.self, "a number")
        guard let result = value.intValue.flatMap({ Number(exactly: $0) }) ?? Number(exactly: number) else {
            throw corrupted("\(value.serialized()) does not fit \(Number.self)")
        }
        return result
    }

    private func mismatch(_ type: any Any.Type, _ expected: String) -> DecodingError {
        let context = DecodingError.Context(
            codingPath: codingPath, debugDescription: "\(expected) is needed, not \(value.kindName)")
        return value.isNull ? .valueNotFound(type, context) : .typeMismatch(type, context)
    }

    private func corrupted(_ reason: String) -> DecodingError {
        .dataCorrupted(.init(codingPath: codingPath, debugDescription: reason))
    }
}

/// Decodes the members of an object.
private struct ObjectDecoder<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let object: JSONObject
    let codingPath: [any CodingKey]

    var allKeys: [Key] { object.keys.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { object[key.stringValue] != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try member(key).value.isNull }
    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value { try member(key).decode(type) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) throws -> KeyedDecodingContainer<Nested> {
        try member(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { try member(key).unkeyedContainer() }
    func superDecoder() throws -> any Decoder { ValueDecoder(value: .object(object), codingPath: codingPath) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try member(key) }

    private func member(_ key: Key) throws -> ValueDecoder {
        guard let value = object[key.stringValue] else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "there is no \"\(key.stringValue)\""))
        }
        return ValueDecoder(value: value, codingPath: codingPath + [key])
    }
}

/// Decodes the elements of a list.
private struct ListDecoder: UnkeyedDecodingContainer {
    private struct Index: CodingKey {
        let intValue: Int?
        var stringValue: String { intValue.map { "\($0)" } ?? "" }

        init(intValue: Int) { self.intValue = intValue }
        init?(stringValue: String) { nil }
    }

    let elements: [JSONValue]
    let codingPath: [any CodingKey]
    private(set) var currentIndex = 0

    init(elements: [JSONValue], codingPath: [any CodingKey]) {
        self.elements = elements
        self.codingPath = codingPath
    }

    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    mutating func decodeNil() throws -> Bool {
        guard try current().value.isNull else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try advance { try $0.decode(type) } }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
        try advance { try $0.container(keyedBy: type) }
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try advance { try $0.unkeyedContainer() } }
    mutating func superDecoder() throws -> any Decoder { try advance { $0 } }

    private func current() throws -> ValueDecoder {
        let path = codingPath + [Index(intValue: currentIndex)]
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                Any.self, .init(codingPath: path, debugDescription: "the list has \(elements.count) elements"))
        }
        return ValueDecoder(value: elements[currentIndex], codingPath: path)
    }

    private mutating func advance<Value>(_ read: (ValueDecoder) throws -> Value) throws -> Value {
        let value = try read(current())
        currentIndex += 1
        return value
    }
}
