import Foundation
package import JSON

/// A Jinja template, parsed once and rendered as often as wanted.
///
/// It renders what jinja2 3.1 renders in the environment that transformers 5.17.0 makes for chat templates
/// (utils/chat_template_utils.py): an immutable sandbox with `trim_blocks` and `lstrip_blocks`, the loop controls and the
/// `{% generation %}` tag, `raise_exception` and `strftime_now`, and a `tojson` that keeps Unicode and HTML characters.
/// Integers have 64 bits, and templates are bounded by `TemplateLimits`.
package struct JinjaTemplate: Sendable {
    package let name: String
    private let program: TemplateProgram
    private let limits: TemplateLimits

    /// - Parameters:
    ///   - source: the template's text.
    ///   - name: what errors call it, usually its file.
    /// - Throws: a syntax error with its line.
    package init(source: String, name: String, limits: TemplateLimits = TemplateLimits()) throws(JinjaError) {
        self.name = name
        self.limits = limits
        program = try TemplateParser.parse(source, name: name, limits: limits)
    }

    /// - Parameters:
    ///   - variables: the template's variables; they hide jinja2's globals of the same name.
    ///   - now: seconds since 1970, for `strftime_now`.
    /// - Throws: what the template raised, or the failure of an expression, with its line.
    package func render(
        _ variables: JSONObject, now: @escaping @Sendable () -> Double = { Date().timeIntervalSince1970 }
    ) throws(JinjaError) -> String {
        var line = 0
        do {
            let interpreter = try TemplateInterpreter(
                program, variables: variables, budget: TemplateBudget(limits), now: now)
            defer { line = interpreter.line }
            return try interpreter.run()
        } catch {
            let failure = error as? TemplateFailure ?? TemplateFailure(.runtime, "\(error)")
            throw JinjaError(kind: failure.kind, template: name, line: line, message: failure.message)
        }
    }
}
