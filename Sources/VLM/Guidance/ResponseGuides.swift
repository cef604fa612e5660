import Engine
import Guidance
import Synchronization
import Text

/// Compiles the forms that responses are held to, for the tokens of one model.
final class ResponseGuides: Sendable {
    private let tokenizer: any Tokenizer
    private let vocabularySize: Int
    private let stopTokens: Set<Int32>
    /// Made for the first request that asks: most pipelines never do, and a large vocabulary takes a moment to sort.
    private let compiler = Mutex<GuidanceCompiler?>(nil)

    /// - Parameter vocabularySize: width of the logits.
    init(tokenizer: any Tokenizer, vocabularySize: Int, stopTokens: Set<Int32>) {
        self.tokenizer = tokenizer
        self.vocabularySize = vocabularySize
        self.stopTokens = stopTokens
    }

    /// The guide of a request.
    ///
    /// - Throws: `GuidanceError` saying where in the schema, expression or grammar what is wrong; `TokenizerError` when the model's tokens
    ///   cannot be followed.
    func guide(_ format: ResponseFormat) throws -> any TokenGuide {
        let compiler = try self.compiler.withLock { compiler in
            if let compiler { return compiler }
            let new = GuidanceCompiler(
                GuidanceVocabulary(tokenBytes: try tokenizer.tokenBytes(count: vocabularySize), stopTokens: stopTokens))
            compiler = new
            return new
        }
        return try compiler.compile(GuidanceSpec(format))
    }
}

extension GuidanceSpec {
    fileprivate init(_ format: ResponseFormat) {
        switch format {
        case .jsonObject: self = .jsonObject
        case .jsonSchema(let schema): self = .jsonSchema(schema)
        case .regex(let pattern): self = .regex(pattern)
        case .grammar(let grammar): self = .grammar(grammar)
        }
    }
}
