public import Engine
import Foundation
import Synchronization

/// What a model makes of texts without answering them.
extension Pipeline {
    /// How surprised the model is by tokens: `exp(-1/(T-1) Σ log p(token i | tokens before i))` over the second token to the last, which is
    /// the exponential of what LMDeploy's `get_ppl` gives.
    ///
    /// - Parameters:
    ///   - tokens: lists of two tokens or more, as ``tokenize(_:)`` makes them; no chat template is applied.
    ///   - options: priority and time of all of them.
    /// - Returns: one perplexity for each list, at least 1.
    /// - Throws: ``EngineError`` naming the list that cannot be scored.
    public func perplexity(of tokens: [[Int32]], options: RequestOptions = .init()) async throws -> [Double] {
        for (index, list) in tokens.enumerated() where list.count < 2 {
            throw EngineError(
                .invalidRequest,
                "list \(index) has \(list.count) tokens; perplexity is of tokens after others, so there must be two or more")
        }
        let generation = GenerationConfig(maxNewTokens: 0, promptLogprobs: 0)
        let requests = tokens.enumerated().map { EngineRequest(tokenIDs: $1, generation: generation, index: $0) }
        return try await compute(requests, options).map { response in
            let entries = response.promptLogprobs ?? []
            let sum = entries.reduce(0.0) { $0 + Double($1.chosen.logprob) }
            return exp(-sum / Double(max(1, entries.count)))
        }
    }

    /// How surprised the model is by texts; see ``perplexity(of:options:)-([[Int32]],_)``. Special tokens that the tokenizer adds are part
    /// of them.
    public func perplexity(of texts: [String], options: RequestOptions = .init()) async throws -> [Double] {
        try await perplexity(of: texts.map { try tokenize($0) }, options: options)
    }

    /// One vector for each prompt: its hidden states after the last norm, pooled.
    ///
    /// Prompts are read as they are to be answered, with their pictures and the chat template around them. Vectors have the model's width and
    /// whatever length comes out; normalise them to compare angles.
    ///
    /// - Throws: what was wrong with a prompt or its pictures, or what failed.
    public func embed(
        _ prompts: [Prompt], pooling: Pooling = .last, options: RequestOptions = .init()
    ) async throws -> [[Float]] {
        let generation = GenerationConfig(maxNewTokens: 0)
        let deadline = options.deadline
        let responses = try await inWindow(prompts) { index, prompt in
            let result = Mutex<Response?>(nil)
            try await self.answer(
                Conversation(prompt: prompt), generation: generation, options: options, deadline: deadline, index: index,
                waitsForRoom: true, pooling: pooling
            ) { _, piece in
                if let response = piece.response { result.withLock { $0 = response } }
            }
            return result.withLock { $0 }
        }
        return try responses.map { try $0.checked().pooledHiddenState ?? [] }
    }

    /// Runs requests that are ready, in any order.
    ///
    /// - Returns: their responses, in the order of the requests.
    private func compute(_ requests: [EngineRequest], _ options: RequestOptions) async throws -> [Response] {
        try options.validate()
        let deadline = options.deadline
        let responses = try await inWindow(requests) { [engine, observer] index, request in
            var request = request
            request.priority = options.priority
            request.deadline = deadline
            var result: Response?
            try await observer.observe(.messages([]), request.generation, index: index) { [request] observed in
                observed.submitted(request)
                for try await piece in engine.stream(request, waitsForRoom: true) {
                    result = observed.passing(piece).response ?? result
                }
            }
            return result
        }
        return try responses.map { try $0.checked() }
    }
}

extension Response? {
    /// The response, when it is one.
    fileprivate func checked() throws -> Response {
        guard let response = self else { throw CancellationError() }
        if let error = response.error { throw error }
        return response
    }
}
