import Engine

/// How requests run: prepared, submitted, watched, and their pieces handed out.
extension Pipeline {
    /// Answers prompts side by side.
    ///
    /// - Parameters:
    ///   - generations: one for each prompt.
    ///   - failsAlone: whether a prompt that fails has a response that says so, and the others go on.
    func stream(
        _ prompts: [Prompt], generations: [GenerationConfig], options: RequestOptions, failsAlone: Bool
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        let deadline = options.deadline
        return AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    guard generations.count == prompts.count else {
                        throw EngineError(
                            .invalidRequest,
                            "there are \(prompts.count) prompts and \(generations.count) generation configurations; give one for each "
                                + "prompt, or one for all")
                    }
                    try await self.answer(prompts, generations, options, deadline, failsAlone: failsAlone) {
                        continuation.yield($0)
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { reason in
                if case .cancelled = reason { task.cancel() }
            }
        }
    }

    private func answer(
        _ prompts: [Prompt], _ generations: [GenerationConfig], _ options: RequestOptions,
        _ deadline: ContinuousClock.Instant?, failsAlone: Bool, _ yield: @escaping @Sendable (ResponsePiece) -> Void
    ) async throws {
        _ = try await inWindow(Array(zip(prompts, generations))) { index, asked in
            let (prompt, generation) = asked
            do {
                try await self.answer(
                    Conversation(prompt: prompt), generation: generation, options: options, deadline: deadline, index: index,
                    waitsForRoom: failsAlone, failsAlone: failsAlone
                ) { _, piece in yield(piece) }
            } catch  where failsAlone && !(error is CancellationError) {
                // A bad n was one error.
                for choice in 0..<max(1, min(generation.n, 1024)) {
                    let response = Response.failed(error, index: index, choice: choice)
                    yield(ResponsePiece(index: index, choice: choice, response: response))
                }
            }
        }
    }

    /// Runs `body` for each item: enough at once to fill the batch again while pictures of the next ones are prepared; not all, whose
    /// pictures memory may not hold.
    ///
    /// - Returns: results in the order of the items.
    func inWindow<Item: Sendable, Result: Sendable>(
        _ items: [Item], _ body: @escaping @Sendable (Int, Item) async throws -> Result
    ) async throws -> [Result] {
        try await items.mapConcurrently(atOnce: 2 * loaded.maxBatchSize, body)
    }

    /// Answers one conversation, as often as `generation` says.
    ///
    /// - Parameters:
    ///   - waitsForRoom: whether it waits where too many requests wait already, instead of being refused.
    ///   - yield: given each piece, and what the model was given.
    /// - Throws: what ends the request before it runs; what ends it later is in the last piece.
    func answer(
        _ conversation: Conversation, generation: GenerationConfig, options: RequestOptions,
        deadline: ContinuousClock.Instant?, index: Int = 0, waitsForRoom: Bool = false, failsAlone: Bool = false,
        pooling: Pooling? = nil, yield: @escaping @Sendable (PreparedPrompt, ResponsePiece) async -> Void
    ) async throws {
        let first = generation.n == 1 ? generation : generation.choosing(0)
        let model = loaded
        try await withThrowingTaskGroup(of: Void.self) { group in
            var othersAreUnderWay = generation.n == 1
            try await observer.observe(conversation.prompt, first, index: index) { observed in
                var prepared = try await preparing(until: deadline) {
                    try await model.preparer.prepare(
                        conversation, generation: first, options: options, index: index, observer: observed)
                }
                defer { prepared.end() }
                prepared.request.priority = options.priority
                prepared.request.pooling = pooling
                prepared.request.deadline = deadline
                observed.submitted(prepared.request)
                for try await piece in model.engine.stream(prepared.request, waitsForRoom: waitsForRoom) {
                    // With the first token the whole prompt is in the prefix cache, where the other responses find it.
                    if !othersAreUnderWay {
                        othersAreUnderWay = true
                        for choice in 1..<generation.n {
                            group.addTask { [prepared] in
                                try await self.answerAgain(
                                    prepared, on: model.engine, conversation.prompt, generation.choosing(choice, like: first),
                                    choice,
                                    waitsForRoom: waitsForRoom, failsAlone: failsAlone, yield: yield)
                            }
                        }
                    }
                    await yield(prepared, observed.passing(piece))
                }
                // Their pictures are the same memory.
                try await group.waitForAll()
            }
        }
    }

    /// Runs a prompt that another request has run already.
    private func answerAgain(
        _ prepared: PreparedPrompt, on engine: Engine, _ prompt: Prompt, _ generation: GenerationConfig, _ choice: Int,
        waitsForRoom: Bool, failsAlone: Bool, yield: @escaping @Sendable (PreparedPrompt, ResponsePiece) async -> Void
    ) async throws {
        var prepared = prepared
        prepared.request.generation = generation
        do {
            try await observer.observe(prompt, generation, index: prepared.request.index) { [prepared] observed in
                observed.submitted(prepared.request)
                for try await piece in engine.stream(prepared.request, waitsForRoom: waitsForRoom) {
                    var piece = observed.passing(piece)
                    piece.choice = choice
                    piece.response?.choice = choice
                    await yield(prepared, piece)
                }
            }
        } catch  where failsAlone && !(error is CancellationError) {
            let index = prepared.request.index
            let response = Response.failed(error, index: index, choice: choice)
            await yield(prepared, ResponsePiece(index: index, choice: choice, response: response))
        }
    }

    /// Runs `body`, and ends it when its time is over.
    private func preparing<Result: Sendable>(
        until deadline: ContinuousClock.Instant?, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        guard let deadline else { return try await body() }
        return try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(until: deadline, clock: .continuous)
                throw EngineError(
                    .deadlineExceeded, "the request's time was over before its pictures were ready; give it more time")
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }
}

extension GenerationConfig {
    /// The configuration of one of ``n`` responses.
    ///
    /// - Parameter first: the first response's, which has a seed.
    fileprivate func choosing(_ choice: Int, like first: GenerationConfig? = nil) -> GenerationConfig {
        var config = self
        let seed = first?.randomSeed ?? randomSeed ?? .random(in: .min ... .max)
        config.randomSeed = choice == 0 ? seed : RandomSource.seed(seed, of: choice)
        return config
    }
}
