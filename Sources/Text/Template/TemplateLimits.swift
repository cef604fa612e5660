/// Bounds that keep a hostile template from hanging the process or exhausting its memory.
///
/// A real chat template stays orders of magnitude below each of them.
package struct TemplateLimits: Sendable {
    /// Nesting that the stack of any thread can take; what nests deeper runs on a thread of its own.
    var shallow: TemplateLimits {
        var limits = self
        limits.syntaxDepth = min(syntaxDepth, 30)
        limits.evaluationDepth = min(evaluationDepth, 60)
        return limits
    }

    /// Nesting of brackets and statements in the source. Python's own compiler stops jinja2 at 200 brackets.
    package var syntaxDepth = 200
    /// Depth of one expression's tree, for example the length of a chain of filters.
    package var expressionDepth = 200
    /// Nesting of evaluations at run time, over all macro calls and recursive loops.
    package var evaluationDepth = 1_000
    /// Work units: one per evaluated node, four per element of a collection made, one per 64 bytes of text read or made.
    package var steps = 10_000_000
    /// Bytes of any one string, including the output.
    package var stringBytes = 16 << 20
    /// Elements of any one collection.
    package var elements = 1 << 20

    package init() {}
}

/// What a rendering has consumed of its limits.
final class TemplateBudget {
    let limits: TemplateLimits
    private var steps: Int
    private var depth = 0
    /// Whether the rendering stopped because it was nested too deeply.
    private(set) var exceededDepth = false

    init(_ limits: TemplateLimits) {
        self.limits = limits
        steps = limits.steps
    }

    @inline(__always)
    func step() throws {
        steps -= 1
        if steps < 0 { throw outOfSteps }
    }

    @inline(__always)
    func enter() throws {
        depth += 1
        if depth > limits.evaluationDepth {
            exceededDepth = true
            throw TemplateFailure(.limit, "recursion deeper than \(limits.evaluationDepth) evaluations")
        }
    }

    @inline(__always)
    func leave() { depth -= 1 }

    /// Accounts for text about to be made, so call it before allocating when the size can be hostile.
    func chargeText(_ bytes: Int) throws {
        guard bytes <= limits.stringBytes else {
            throw TemplateFailure(.limit, "a string longer than \(limits.stringBytes) bytes")
        }
        steps -= bytes >> 6
        if steps < 0 { throw outOfSteps }
    }

    /// `count` copies of a text of `bytes` bytes.
    func chargeText(_ bytes: Int, times count: Int) throws {
        let (total, overflow) = bytes.multipliedReportingOverflow(by: max(0, count))
        try chargeText(overflow ? Int.max : total)
    }

    /// Accounts for the elements of a collection about to be made.
    func chargeElements(_ count: Int) throws {
        guard count <= limits.elements else {
            throw TemplateFailure(.limit, "a collection of more than \(limits.elements) elements")
        }
        steps -= max(0, count) << 2
        if steps < 0 { throw outOfSteps }
    }

    private var outOfSteps: TemplateFailure { TemplateFailure(.limit, "more than \(limits.steps) steps of work") }
}
