/// The form of a value: what the model may write, and what it is told about it.
///
/// It renders to a JSON Schema (``jsonSchema``) that guides decoding, and to a few lines for the prompt (``instructions``).
/// `@Extractable` writes it; by hand it looks like this:
///
///     static var schema: ExtractionSchema {
///         .object(
///             Receipt.self, "A shop's receipt",
///             [
///                 .property("shop", String.self, "Name of the shop"),
///                 .property("total", Double.self, "Total in euros", .range(0...1_000_000)),
///                 .property("lines", [Line].self, .count(1...20)),
///             ])
///     }
public struct ExtractionSchema: Sendable {
    /// A bound of a range.
    public enum Number: Sendable, Equatable {
        /// Of a whole number.
        case integer(Int)
        /// Of any number.
        case real(Double)
    }

    /// Limits of a count or of a number, both inclusive.
    struct Limits<Bound: Comparable & Sendable>: Sendable, Equatable {
        var lowest: Bound?
        var highest: Bound?

        mutating func narrow(_ other: Limits) {
            lowest = [lowest, other.lowest].compactMap { $0 }.max()
            highest = [highest, other.highest].compactMap { $0 }.min()
        }
    }

    /// A text and what is known about it.
    struct Text: Sendable {
        /// A regular expression that the text must contain a match of.
        var pattern: String?
        /// How the pattern is called in instructions, such as `date like 2026-03-31`.
        var name: String?
        var count = Limits<Int>()
        /// Whether its beginning means nothing, as that of a date.
        var isAtomic = false
    }

    /// One of several constants.
    enum Choice: Sendable, Equatable {
        case text(String)
        case integer(Int)
    }

    /// A structure with named members.
    struct Object: Sendable {
        /// The type's name.
        let name: String
        /// Tells types of equal name apart.
        let type: ObjectIdentifier
        let properties: [Property]
        /// Whether its beginning means nothing, because the type has no `Partial` of its own.
        let isAtomic: Bool
    }

    indirect enum Form: Sendable {
        case boolean
        case integer(Limits<Int>)
        case real(Limits<Double>)
        case text(Text)
        case choices([Choice])
        case list(ExtractionSchema, Limits<Int>)
        case dictionary(ExtractionSchema, Limits<Int>)
        case object(Object)
        case optional(ExtractionSchema)
    }

    var form: Form
    /// What the value means, for the model.
    public var description: String?

    init(_ form: Form, description: String? = nil) {
        self.form = form
        self.description = description
    }

    /// A member of an object.
    public struct Property: Sendable {
        /// The coding key.
        let name: String
        let makeSchema: @Sendable () -> ExtractionSchema

        /// Made when it is asked for, so that a type may contain values of its own type.
        var schema: ExtractionSchema { makeSchema() }

        /// A member and what it means, for the model.
        ///
        /// - Parameters:
        ///   - name: its coding key.
        ///   - type: its type.
        ///   - description: what it means.
        ///   - limits: what its values are held to.
        public static func property<Value: Extractable>(
            _ name: String, _ type: Value.Type, _ description: String, _ limits: ExtractionLimit<Value>...
        ) -> Property {
            property(name, type, description, limits)
        }

        /// A member whose name says what it means.
        ///
        /// - Parameters:
        ///   - name: its coding key.
        ///   - type: its type.
        ///   - limits: what its values are held to.
        public static func property<Value: Extractable>(
            _ name: String, _ type: Value.Type, _ limits: ExtractionLimit<Value>...
        ) -> Property {
            property(name, type, nil, limits)
        }

        private static func property<Value: Extractable>(
            _ name: String, _ type: Value.Type, _ description: String?, _ limits: [ExtractionLimit<Value>]
        ) -> Property {
            Property(name: name) {
                var schema = Value.schema
                if let description { schema.description = description }
                for limit in limits { limit.apply(&schema) }
                return schema
            }
        }
    }
}

// MARK: Forms

extension ExtractionSchema {
    /// `true` or `false`.
    public static var boolean: ExtractionSchema { ExtractionSchema(.boolean) }

    /// A whole number.
    public static func integer(_ range: ClosedRange<Int>? = nil) -> ExtractionSchema {
        ExtractionSchema(.integer(Limits(lowest: range?.lowerBound, highest: range?.upperBound)))
    }

    /// A number.
    public static var number: ExtractionSchema { ExtractionSchema(.real(Limits())) }

    /// Any text.
    public static var text: ExtractionSchema { ExtractionSchema(.text(Text())) }

    /// A text that means something only as a whole, such as a date.
    ///
    /// - Parameters:
    ///   - name: what it is, for the model: `date like 2026-03-31`.
    ///   - pattern: a regular expression that the text must contain a match of; anchor it with `^` and `$`.
    public static func text(named name: String, pattern: String) -> ExtractionSchema {
        ExtractionSchema(.text(Text(pattern: pattern, name: name, isAtomic: true)))
    }

    /// One of these texts.
    public static func choices(_ texts: [String], _ description: String? = nil) -> ExtractionSchema {
        ExtractionSchema(.choices(texts.map { .text($0) }), description: description)
    }

    /// One of these numbers.
    public static func choices(_ numbers: [Int], _ description: String? = nil) -> ExtractionSchema {
        ExtractionSchema(.choices(numbers.map { .integer($0) }), description: description)
    }

    /// Elements of one form, in order.
    public static func list(of element: ExtractionSchema) -> ExtractionSchema { ExtractionSchema(.list(element, Limits())) }

    /// Values of one form under names that the model chooses.
    public static func dictionary(of value: ExtractionSchema) -> ExtractionSchema {
        ExtractionSchema(.dictionary(value, Limits()))
    }

    /// The form, or `null`.
    public static func optional(_ wrapped: ExtractionSchema) -> ExtractionSchema {
        if case .optional = wrapped.form { return wrapped }
        return ExtractionSchema(.optional(wrapped), description: wrapped.description)
    }

    /// A structure.
    ///
    /// - Parameters:
    ///   - type: whose form it is.
    ///   - description: what it means, for the model.
    ///   - properties: its members, in the order in which the model writes them.
    public static func object<Value: Extractable>(
        _ type: Value.Type, _ description: String? = nil, _ properties: [Property]
    ) -> ExtractionSchema {
        let object = Object(
            name: "\(type)", type: ObjectIdentifier(type), properties: properties, isAtomic: Value.Partial.self == Value.self)
        return ExtractionSchema(.object(object), description: description)
    }
}

// MARK: Walking

extension ExtractionSchema {
    /// Whether the beginning of a value means nothing: it is shown when it is whole.
    var isAtomic: Bool {
        switch form {
        case .boolean, .integer, .real, .choices: true
        case .text(let text): text.isAtomic
        case .object(let object): object.isAtomic
        case .optional(let wrapped): wrapped.isAtomic
        case .list, .dictionary: false
        }
    }

    /// The form without `null`.
    var required: ExtractionSchema { if case .optional(let wrapped) = form { wrapped.required } else { self } }

    /// The form of a member.
    func member(_ name: String) -> ExtractionSchema? {
        switch required.form {
        case .object(let object): object.properties.first { $0.name == name }?.schema
        case .dictionary(let value, _): value
        default: nil
        }
    }

    /// The form of elements.
    var element: ExtractionSchema? { if case .list(let element, _) = required.form { element } else { nil } }

    /// Narrows the numbers of this form: its own, or those of its elements.
    mutating func limit(_ integers: Limits<Int>, _ reals: Limits<Double>) {
        switch form {
        case .integer(var limits):
            limits.narrow(integers)
            form = .integer(limits)
        case .real(var limits):
            limits.narrow(reals)
            form = .real(limits)
        default: changeContent { $0.limit(integers, reals) }
        }
    }

    /// Narrows the count of this form's characters or elements.
    mutating func limitCount(_ limits: Limits<Int>) {
        switch form {
        case .text(var text):
            text.count.narrow(limits)
            form = .text(text)
        case .list(let element, var count):
            count.narrow(limits)
            form = .list(element, count)
        case .dictionary(let value, var count):
            count.narrow(limits)
            form = .dictionary(value, count)
        case .optional: changeContent { $0.limitCount(limits) }
        default: break
        }
    }

    /// Holds the texts of this form to a pattern: its own, or those of its elements.
    mutating func limit(pattern: String) {
        if case .text(var text) = form {
            text.pattern = pattern
            form = .text(text)
        } else {
            changeContent { $0.limit(pattern: pattern) }
        }
    }

    private mutating func changeContent(_ change: (inout ExtractionSchema) -> Void) {
        switch form {
        case .optional(var content):
            change(&content)
            form = .optional(content)
        case .list(var content, let count):
            change(&content)
            form = .list(content, count)
        case .dictionary(var content, let count):
            change(&content)
            form = .dictionary(content, count)
        default: break
        }
    }
}
