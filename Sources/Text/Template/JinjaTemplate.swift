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
        program = try Self.parse(source, name, limits)
    }

    private static func parse(_ source: String, _ name: String, _ limits: TemplateLimits) throws(JinjaError) -> TemplateProgram {
        do {
            return try TemplateParser.parse(source, name: name, limits: limits.shallow)
        } catch  where error.kind == .limit {
            let result = DeepStack.run {
                Result { () throws(JinjaError) in try TemplateParser.parse(source, name: name, limits: limits) }
            }
            guard let result else { throw error }
            return try result.get()
        }
    }

    /// - Parameters:
    ///   - variables: the template's variables; they hide jinja2's globals of the same name.
    ///   - now: seconds since 1970, for `strftime_now`.
    /// - Throws: what the template raised, or the failure of an expression, with its line.
    package func render(
        _ variables: JSONObject, now: @escaping @Sendable () -> Double = { Date().timeIntervalSince1970 }
    ) throws(JinjaError) -> String {
        // Rendering has no effects, so what turns out to nest deeply is simply rendered again with more stack.
        let first = attempt(variables, limits.shallow, now)
        guard first.exceededDepth else { return try first.result.get() }
        guard let second = DeepStack.run({ attempt(variables, limits, now) }) else { return try first.result.get() }
        return try second.result.get()
    }

    private func attempt(
        _ variables: JSONObject, _ limits: TemplateLimits, _ now: @escaping @Sendable () -> Double
    ) -> (result: Result<String, JinjaError>, exceededDepth: Bool) {
        let budget = TemplateBudget(limits)
        var line = 0
        do {
            let interpreter = try TemplateInterpreter(program, variables: variables, budget: budget, now: now)
            defer { line = interpreter.line }
            return (.success(try interpreter.run()), false)
        } catch {
            let failure = error as? TemplateFailure ?? TemplateFailure(.runtime, "\(error)")
            let fault = JinjaError(kind: failure.kind, template: name, line: line, message: failure.message)
            return (.failure(fault), budget.exceededDepth)
        }
    }
}
