/// Why a template could not be parsed or rendered, and where.
package struct JinjaError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The source is not a template jinja2 would compile.
        case syntax
        /// An operation on a value that does not exist, such as an attribute of an undefined variable.
        case undefined
        /// The template called `raise_exception`: the author refuses this conversation.
        case raised
        /// What Python would report as a `TypeError`, `ValueError` and the like.
        case runtime
        /// The template asked for more work, depth or output than a chat template can need.
        case limit
        /// A feature of jinja2 that chat templates cannot use here (includes, random text).
        case unsupported
    }

    package let kind: Kind
    /// The name the caller gave the template, usually its file.
    package let template: String
    /// Line in the template, from 1; 0 when the error has no place.
    package let line: Int
    package let message: String

    package init(kind: Kind, template: String, line: Int, message: String) {
        self.kind = kind
        self.template = template
        self.line = line
        self.message = message
    }

    package var description: String {
        let place = line > 0 ? "\(template):\(line)" : template
        return switch kind {
        case .syntax: "\(place): template syntax error: \(message)"
        case .raised: "\(place): the chat template refused the conversation: \(message)"
        case .limit: "\(place): template limit exceeded: \(message)"
        case .unsupported: "\(place): unsupported in templates: \(message)"
        case .undefined, .runtime: "\(place): template error: \(message)"
        }
    }
}

/// An error before the interpreter or parser has added the template's name and line.
struct TemplateFailure: Error {
    let kind: JinjaError.Kind
    let message: String

    init(_ kind: JinjaError.Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    static func type(_ message: String) -> TemplateFailure { TemplateFailure(.runtime, message) }
    static func unsupported(_ message: String) -> TemplateFailure { TemplateFailure(.unsupported, message) }
}
