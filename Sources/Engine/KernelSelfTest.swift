import Layers
package import Tensors

/// Runs every operation on two backends over odd shapes and compares the results: a device against the reference.
///
/// Both get the same numbers, rounded to the type the candidate keeps operands in, so that a difference comes from the arithmetic alone.
/// Outputs start as NaN with a guard behind them: what is left out or written too far shows.
package struct KernelSelfTest {
    /// What one operation gave.
    package struct Outcome: Sendable {
        package let operation: String
        /// ‖candidate − reference‖ / ‖reference‖; for choices of tokens, the share that differs.
        package let relativeError: Double
        package let bound: Double
        /// Why there is no result to compare.
        package let error: (any Error)?
        package var passed: Bool { error == nil && relativeError <= bound }
    }

    /// How many shapes are tried.
    package enum Extent: Sendable {
        /// Each operation a few times: for slow references and for tools that watch every access.
        case quick
        case full
    }

    /// What explains a difference.
    enum Precision {
        /// Results are rounded to the type of operands.
        case operands
        /// Everything is float32.
        case float32
        /// Numbers are moved, not made.
        case exact
        /// Tokens are drawn: a sum that is rounded differently may fall on the other side of the drawn number.
        case draws
    }

    /// One operation over one choice of shapes.
    struct Case {
        let name: String
        var precision = Precision.operands
        /// Allocates, computes, returns what to compare.
        let body: (SelfTestOperands) throws -> [Tensor]
    }

    private let reference: any Backend
    private let candidate: any Backend
    /// The type that the candidate's weights, cache and (where they are not float32) activations have.
    private let operandType: DType
    private let bound: Double

    /// - Parameter bound: relative error allowed for results in the type of operands; nil for what rounding each result once explains, with
    ///   room for attention's rounded weights.
    package init(reference: any Backend, candidate: any Backend, bound: Double? = nil) {
        self.reference = reference
        self.candidate = candidate
        operandType = candidate.cacheType
        self.bound =
            bound
            ?? {
                switch candidate.cacheType {
                case .float32: 2e-5
                case .float16: 1.5e-3
                default: 1e-2
                }
            }()
    }

    /// - Parameters:
    ///   - matching: part of the names of the operations to run; nil for all.
    ///   - report: called after each operation; returns whether to go on.
    /// - Throws: ``TensorError`` when there is no memory for the operands.
    @discardableResult
    package func run(
        _ extent: Extent = .quick, matching: String? = nil, report: (Outcome) -> Bool = { _ in true }
    ) throws -> [Outcome] {
        let bytes = extent == .quick ? 8 << 20 : 96 << 20
        let workspaces = try [candidate, reference].map { try Workspace(backend: $0, byteCount: bytes) }
        var outcomes: [Outcome] = []
        for each in cases(extent) where matching.map({ each.name.contains($0) }) ?? true {
            let outcome = outcome(each, workspaces)
            outcomes.append(outcome)
            if !report(outcome) { break }
        }
        return outcomes
    }

    private func cases(_ extent: Extent) -> [Case] {
        var cases =
            KernelSelfTest.linearCases(extent) + KernelSelfTest.rowCases(extent) + KernelSelfTest.imageCases(extent)
            + KernelSelfTest.attentionCases(extent)
        if candidate is any AsynchronousBackend {
            cases += KernelSelfTest.recordedCases(extent) + KernelSelfTest.samplingCases(extent)
        }
        return cases
    }

    private func outcome(_ each: Case, _ workspaces: [Workspace]) -> Outcome {
        let bound =
            switch each.precision {
            case .operands: bound
            case .float32: 2e-5
            case .exact: 0.0
            case .draws: 0.01
            }
        func outcome(_ relativeError: Double, _ error: (any Error)? = nil) -> Outcome {
            Outcome(operation: each.name, relativeError: relativeError, bound: bound, error: error)
        }
        do {
            let values = try result(candidate, workspaces[0], each)
            let expected = try result(reference, workspaces[1], each)
            return outcome(each.precision == .draws ? mismatches(values, expected) : relativeError(values, expected))
        } catch {
            return outcome(.infinity, error)
        }
    }

    private func result(_ backend: any Backend, _ workspace: Workspace, _ each: Case) throws -> [Float] {
        try workspace.scope {
            let operands = SelfTestOperands(ForwardContext(backend: backend, workspace: workspace), type: operandType)
            let tensors = try each.body(operands)
            let values = try tensors.flatMap { try operands.values(of: $0) }
            try operands.checkGuards()
            return values
        }
    }

    private func relativeError(_ values: [Float], _ expected: [Float]) -> Double {
        guard values.count == expected.count else { return .infinity }
        var difference = 0.0
        var norm = 0.0
        for (value, reference) in zip(values, expected) {
            difference += Double(value - reference) * Double(value - reference)
            norm += Double(reference) * Double(reference)
        }
        guard difference.isFinite else { return .infinity }
        return difference == 0 ? 0 : (difference / norm).squareRoot()
    }

    private func mismatches(_ values: [Float], _ expected: [Float]) -> Double {
        guard values.count == expected.count, !values.isEmpty else { return .infinity }
        return Double(zip(values, expected).count { $0 != $1 }) / Double(values.count)
    }
}
