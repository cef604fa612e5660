import Engine
import JSON

/// How a request is treated among others, and what its chat template is told.
public struct RequestOptions: Sendable, Equatable {
    /// Requests of higher priority go first; those of one priority in the order of coming.
    public var priority: Int
    /// The whole request, pictures and waiting included, ends with ``EngineError/Kind/deadlineExceeded`` when it takes longer; nil waits.
    public var timeout: Duration?
    /// Further variables of the chat template, such as `["enable_thinking": false]`.
    public var templateArguments: [String: TemplateArgument]
    /// Functions the model may call, as the chat template shows them: a JSON list of `{"type": "function", "function": {…}}`.
    public var tools: String?

    /// An ordinary request, unless said otherwise.
    public init(
        priority: Int = 0, timeout: Duration? = nil, templateArguments: [String: TemplateArgument] = [:], tools: String? = nil
    ) {
        self.priority = priority
        self.timeout = timeout
        self.templateArguments = templateArguments
        self.tools = tools
    }

    /// When the request's time is over, if it began now.
    var deadline: ContinuousClock.Instant? { timeout.map { ContinuousClock.now + $0 } }

    /// - Throws: ``EngineError`` or ``PromptError`` naming the option.
    func validate() throws {
        if let timeout, timeout <= .zero { throw EngineError(.invalidRequest, "timeout must be positive, not \(timeout)") }
        guard EngineRequest.priorities.contains(priority) else {
            throw EngineError(
                .invalidRequest,
                "priority must be between \(EngineRequest.priorities.lowerBound) and \(EngineRequest.priorities.upperBound), not \(priority)"
            )
        }
        _ = try toolList()
    }

    /// ``tools`` as a chat template takes them; null without.
    func toolList() throws(PromptError) -> JSONValue {
        guard let tools else { return .null }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: Array(tools.utf8), source: "tools")
        } catch {
            throw PromptError("tools are not JSON: \(error)")
        }
        guard let list = value.arrayValue, list.allSatisfy({ $0.objectValue != nil }) else {
            throw PromptError("tools must be a list of {\"type\": \"function\", \"function\": {…}}")
        }
        return value
    }
}

/// A value that a chat template can be given.
public enum TemplateArgument: Sendable, Equatable {
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    indirect case list([TemplateArgument])
    indirect case dictionary([String: TemplateArgument])

    var json: JSONValue {
        switch self {
        case .bool(let value): .bool(value)
        case .int(let value): .integer(value)
        case .double(let value): .number(value)
        case .string(let value): .string(value)
        case .list(let values): .array(values.map(\.json))
        case .dictionary(let values):
            .object(JSONObject(values.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) }))
        }
    }
}

extension TemplateArgument: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByStringLiteral
{
    /// `true` or `false`.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// A whole number.
    public init(integerLiteral value: Int) { self = .int(value) }
    /// A number.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
}
