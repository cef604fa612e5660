import Tensors

/// Everything a ``WeightBinder`` found wrong, and the one error that tells it.
struct BindingProblems {
    var missing: [(name: String, dimensions: [Int])] = []
    var misshapen: [(name: String, expected: [Int], found: [Int])] = []
    var wrongType: [(name: String, found: DType)] = []
    var notFinite: [(name: String, position: Int)] = []
    var clashes: [(first: String, second: String, renamed: String)] = []
    var unused: [String] = []

    /// Lines shown of each sort; the rest is counted.
    static let shown = 8

    /// The error, or nil when nothing was wrong.
    func error(source: String, fileNames: [String: String], requested: Set<String>) -> CheckpointError? {
        var parts: [String] = []
        parts += section("missing", missing.map { "\($0.name) \($0.dimensions)\(suggestion(for: $0.name))" })
        parts += section(
            "of the wrong shape", misshapen.map { "\($0.name) is \($0.found), the configuration implies \($0.expected)" })
        parts += section("of a type that is not supported here", wrongType.map { "\($0.name) is \($0.found)" })
        parts += section("not finite", notFinite.map { "\($0.name) has NaN or infinity at element \($0.position)" })
        parts += section("given twice", clashes.map { "\($0.first) and \($0.second) are both \($0.renamed)" })
        parts += section("not used by this architecture", unused)
        guard !parts.isEmpty else { return nil }
        let onlyNumbers = missing.isEmpty && misshapen.isEmpty && wrongType.isEmpty && clashes.isEmpty && unused.isEmpty
        return CheckpointError(
            onlyNumbers ? .notFinite : .weightMismatch, source: source,
            detail: "tensors " + parts.joined(separator: "; tensors "),
            hint: onlyNumbers
                ? "The file is damaged or was saved from a diverged run; get it again"
                : "Check that config.json belongs to these safetensors files")
    }

    private func section(_ title: String, _ lines: [String]) -> [String] {
        guard !lines.isEmpty else { return [] }
        let rest = lines.count - BindingProblems.shown
        let list = lines.prefix(BindingProblems.shown).joined(separator: ", ")
        return ["\(title) (\(lines.count)): \(list)\(rest > 0 ? ", and \(rest) more" : "")"]
    }

    /// An unused name that ends like the missing one, most common components first: usually the same tensor under another prefix.
    private func suggestion(for name: String) -> String {
        let parts = name.split(separator: ".")
        var best: (score: Int, name: String)?
        for candidate in unused {
            let others = candidate.split(separator: ".")
            var score = 0
            while score < min(parts.count, others.count), parts[parts.count - 1 - score] == others[others.count - 1 - score] {
                score += 1
            }
            if score >= 2, score > best?.score ?? 0 { best = (score, candidate) }
        }
        return best.map { " (is it \($0.name)?)" } ?? ""
    }
}
