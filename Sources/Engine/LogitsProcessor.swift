/// A change of your own to the logits, before a token is chosen.
///
///     let calm = LogitsProcessor { logits, tokens in
///         logits[exclamationMark] -= 2
///     }
///     let response = try await pipeline("Describe this.", image, generation: GenerationConfig(logitsProcessors: [calm]))
///
/// It runs on the engine's thread for each token of its request, so it should be quick. Two processors are equal when they are the same
/// object.
public final class LogitsProcessor: Sendable, Equatable {
    private let body: @Sendable (inout Logits, [Int32]) -> Void

    /// A processor that calls `body` for each token with the logits, to change, and the tokens of prompt and response so far.
    public init(_ body: @escaping @Sendable (_ logits: inout Logits, _ tokens: [Int32]) -> Void) {
        self.body = body
    }

    func apply(_ values: UnsafeMutableBufferPointer<Float>, _ tokens: [Int32]) {
        var logits = Logits(values)
        body(&logits, tokens)
    }

    /// Whether both are the same object.
    public static func == (a: LogitsProcessor, b: LogitsProcessor) -> Bool { a === b }
}

/// The logits of one step, for a ``LogitsProcessor`` to change in place. It cannot be copied or kept.
public struct Logits: ~Copyable {
    private let values: UnsafeMutableBufferPointer<Float>

    init(_ values: UnsafeMutableBufferPointer<Float>) { self.values = values }

    /// Size of the vocabulary, V.
    public var count: Int { values.count }

    /// The logit of a token, `0 ..< count`. Negative infinity bans the token.
    public subscript(token: Int32) -> Float {
        get {
            precondition(values.indices.contains(Int(token)), "token \(token) is outside the vocabulary of \(values.count)")
            return values[Int(token)]
        }
        set {
            precondition(values.indices.contains(Int(token)), "token \(token) is outside the vocabulary of \(values.count)")
            values[Int(token)] = newValue
        }
    }

    /// The token of the greatest logit.
    public var likeliest: Int32 { Sampler.argmax(UnsafeBufferPointer(values)) }

    /// Calls `body` with all logits, for loops that should be fast. The buffer is valid during the call.
    public mutating func withUnsafeMutableBufferPointer<Result, Failure: Error>(
        _ body: (UnsafeMutableBufferPointer<Float>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(values)
    }
}
