import JSON

/// `json.dumps` over template values, writing numbers and separators as Python does.
struct TemplateJSONWriter {
    let budget: TemplateBudget
    var asciiOnly = false
    var sortsKeys = false
    var indent: String?
    var itemSeparator = ", "
    var keySeparator = ": "
    private(set) var output = ""

    init(budget: TemplateBudget) { self.budget = budget }

    mutating func write(_ value: TemplateValue, level: Int) throws {
        try budget.enter()
        defer { budget.leave() }
        try budget.step()
        if output.utf8.count > budget.limits.stringBytes { try budget.chargeText(output.utf8.count) }
        switch value {
        case .none: output += "null"
        case .bool(let flag): output += flag ? "true" : "false"
        case .int(let integer): output += String(integer)
        case .float(let real): output += pythonRepr(real)
        case .string(let text), .markup(let text): try write(text)
        case .list(let list), .tuple(let list), .group(let list):
            try writeContainer("[", "]", count: list.items.count, level: level) { writer, at in
                try writer.write(list.items[at], level: level + 1)
            }
        case .dict(let dict): try write(dict, level: level)
        default: throw TemplateFailure.type("Object of type \(value.typeName) is not JSON serializable")
        }
    }

    private mutating func write(_ dict: TemplateDict, level: Int) throws {
        var order = Array(dict.keys.indices)
        if sortsKeys { order = try sorted(order) { try dict.keys[$0].isLess(than: dict.keys[$1], budget) } }
        try writeContainer("{", "}", count: order.count, level: level) { writer, at in
            try writer.write(Self.key(dict.keys[order[at]]))
            writer.output += writer.keySeparator
            try writer.write(dict.values[order[at]], level: level + 1)
        }
    }

    /// JSON's names are strings; Python converts the other scalars.
    private static func key(_ value: TemplateValue) throws -> String {
        switch value {
        case .string(let text), .markup(let text): return text
        case .none: return "null"
        case .bool(let flag): return flag ? "true" : "false"
        case .int(let integer): return String(integer)
        case .float(let real): return pythonRepr(real)
        default: throw TemplateFailure.type("keys must be str, int, float, bool or None, not \(value.typeName)")
        }
    }

    private mutating func writeContainer(
        _ open: String, _ close: String, count: Int, level: Int, element: (inout Self, Int) throws -> Void
    ) throws {
        output += open
        for at in 0..<count {
            if at > 0 { output += itemSeparator }
            try newline(level + 1)
            try element(&self, at)
        }
        if count > 0 { try newline(level) }
        output += close
    }

    private mutating func newline(_ level: Int) throws {
        guard let indent else { return }
        output += "\n"
        output += try budget.repeat(indent, level)
    }

    private mutating func write(_ text: String) throws {
        try budget.chargeText(text.utf8.count)
        output += JSONValue.string(text).serialized(asciiOnly: asciiOnly)
    }
}

/// A stable merge sort whose comparison may fail, as Python's `sorted` is stable and its `<` may raise.
func sorted<Element>(
    _ items: [Element], by isLess: (Element, Element) throws -> Bool
) throws -> [Element] {
    guard items.count > 1 else { return items }
    var source = items
    var target = items
    var width = 1
    while width < items.count {
        var start = 0
        while start < items.count {
            let middle = min(start + width, items.count)
            let end = min(start + 2 * width, items.count)
            var (left, right) = (start, middle)
            for at in start..<end {
                let takesRight = try left == middle || right < end && isLess(source[right], source[left])
                target[at] = source[takesRight ? right : left]
                if takesRight { right += 1 } else { left += 1 }
            }
            start = end
        }
        swap(&source, &target)
        width *= 2
    }
    return source
}
