/// A form that a response is held to, token by token.
public enum ResponseFormat: Sendable, Equatable {
    /// Any JSON object.
    case jsonObject
    /// JSON of a schema (draft 2020-12).
    case jsonSchema(String)
    /// A text that a regular expression matches as a whole.
    case regex(String)
    /// A text of a grammar in extended Backus-Naur form.
    case grammar(String)
}
