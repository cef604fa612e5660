extension ExtractionSchema {
    /// What the model is told about the form at the end of the prompt.
    ///
    /// Decoding is held to the schema whatever the prompt says, but a model that knows what the names mean fills them better. For a
    /// receipt this is
    ///
    ///     Answer in JSON. A shop's receipt:
    ///     - shop: Name of the shop (text)
    ///     - total: Total in euros (number, 0 to 1000000)
    ///     - lines: list of 1 to 20 objects
    ///       - name: text
    ///       - price: number or null
    ///     Write null where there is nothing to read.
    public var instructions: String {
        var writer = InstructionWriter()
        let subject = description ?? ""
        if case .object(let object) = required.form {
            writer.lines.append(subject.isEmpty ? "Answer in JSON with these fields:" : "Answer in JSON. \(subject):")
            writer.members(of: object, indent: "")
        } else {
            let kind = writer.kind(self)
            writer.lines.append(subject.isEmpty ? "Answer in JSON: \(kind)." : "Answer in JSON. \(subject): \(kind).")
            writer.content(of: self, indent: "")
        }
        if writer.mentionsNull { writer.lines.append("Write null where there is nothing to read.") }
        return writer.lines.joined(separator: "\n")
    }
}

private struct InstructionWriter {
    var lines: [String] = []
    private(set) var mentionsNull = false
    private var path: [ObjectIdentifier] = []

    mutating func members(of object: ExtractionSchema.Object, indent: String) {
        path.append(object.type)
        for property in object.properties {
            let schema = property.schema
            let kind = kind(schema)
            let description = schema.description ?? ""
            lines.append("\(indent)- \(property.name): " + (description.isEmpty ? kind : "\(description) (\(kind))"))
            content(of: schema, indent: indent + "  ")
        }
        path.removeLast()
    }

    /// The fields of the objects inside a value, unless they are being listed already.
    mutating func content(of schema: ExtractionSchema, indent: String) {
        switch schema.form {
        case .boolean, .integer, .real, .text, .choices: break
        case .list(let content, _), .dictionary(let content, _), .optional(let content): self.content(of: content, indent: indent)
        case .object(let object): if !path.contains(object.type) { members(of: object, indent: indent) }
        }
    }

    /// A few words: `list of 1 to 20 objects`.
    mutating func kind(_ schema: ExtractionSchema) -> String {
        switch schema.form {
        case .boolean: return "true or false"
        case .integer(let limits):
            // What a type can hold is nothing a document says.
            let whole = ExtractionSchema.Limits(
                lowest: limits.lowest.flatMap { $0 <= -1 << 31 ? nil : $0 },
                highest: limits.highest.flatMap { $0 >= 1 << 31 - 1 ? nil : $0 })
            return "whole number" + range(whole, unit: "") { "\($0)" }
        case .real(let limits):
            return "number" + range(limits, unit: "") { value in Int(exactly: value).map { "\($0)" } ?? "\(value)" }
        case .text(let text): return (text.name ?? "text") + range(text.count, unit: " characters") { "\($0)" }
        case .choices(let choices):
            let names = choices.map { choice in
                switch choice {
                case .text(let text): "\"\(text)\""
                case .integer(let number): "\(number)"
                }
            }
            return names.count == 1 ? names[0] : "one of " + names.joined(separator: ", ")
        case .list(let element, let count): return "list of " + elements(element, count)
        case .dictionary(let value, let count): return "object that maps names to " + elements(value, count)
        case .object: return "object"
        case .optional(let wrapped):
            mentionsNull = true
            let kind = kind(wrapped)
            return kind + (kind.contains(",") ? ", or null" : " or null")
        }
    }

    private mutating func elements(_ element: ExtractionSchema, _ count: ExtractionSchema.Limits<Int>) -> String {
        let number = range(count, unit: "") { "\($0)" }.dropFirst(2)
        return (number.isEmpty ? "" : number + " ") + plural(element)
    }

    private mutating func plural(_ element: ExtractionSchema) -> String {
        if let description = element.description, !element.isObject { return "values: \(description) (\(kind(element)))" }
        switch element.form {
        case .object: return "objects"
        case .text(let text) where text.name == nil && text.count == .init(): return "texts"
        case .real(let limits) where limits == .init(): return "numbers"
        default: return "values, each " + kind(element)
        }
    }

    /// `, 1 to 20`, `, at least 1`, `, at most 20`, or nothing.
    private func range<Bound>(
        _ limits: ExtractionSchema.Limits<Bound>, unit: String, _ text: (Bound) -> String
    ) -> String {
        switch (limits.lowest, limits.highest) {
        case (let lowest?, let highest?) where lowest == highest: ", \(text(lowest))\(unit)"
        case (let lowest?, let highest?): ", \(text(lowest)) to \(text(highest))\(unit)"
        case (let lowest?, nil): ", at least \(text(lowest))\(unit)"
        case (nil, let highest?): ", at most \(text(highest))\(unit)"
        case (nil, nil): ""
        }
    }
}

extension ExtractionSchema {
    fileprivate var isObject: Bool { if case .object = form { true } else { false } }
}
