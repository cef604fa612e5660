public import Engine
public import Imaging
import Text

/// A model ready to answer: load it once, ask it often, from any task.
///
///     let pipeline = try await Pipeline(model: "demo")
///     let answer = try await pipeline("What does the sign say?", image)
///     print(answer.text)
///     try await pipeline.close()
public final class Pipeline: Sendable {
    /// What the pipeline was made from, and where its memory goes.
    package let setup: PipelineSetup
    package let engine: Engine
    private let preparer: RequestPreparer
    private let observer: PipelineObserver

    /// Loads a model.
    ///
    /// - Parameters:
    ///   - model: a checkpoint folder, a Hub id that is in the local cache, or `demo`.
    ///   - engineConfig: device, types and memory.
    ///   - visionConfig: how images are encoded.
    ///   - options: a chat template of your own, limits on images, random weights.
    ///   - progress: told the share of the weights that is loaded, between 0 and 1.
    /// - Throws: an error that names the file, tensor or option at fault and what to do.
    public init(
        model: String, engineConfig: EngineConfig = .init(), visionConfig: VisionConfig = .init(),
        options: PipelineOptions = .init(),
        progress: (@Sendable (Double) -> Void)? = nil
    ) async throws {
        let setup = try PipelineSetup(model: model, engineConfig: engineConfig, visionConfig: visionConfig, options: options)
        let engine = Engine()
        let prompting = try await engine.start { try setup.makeCore(progress: progress) }
        self.setup = setup
        self.engine = engine
        preparer = try RequestPreparer(setup: setup, model: prompting)
        observer = PipelineObserver(options.observability, model: model) { try await engine.statistics() }
    }

    // MARK: One prompt

    /// Answers one prompt.
    ///
    /// - Throws: what was wrong with the prompt or its images, or what failed.
    public func callAsFunction(_ prompt: Prompt, generation: GenerationConfig = .init()) async throws -> Response {
        for try await piece in stream(prompt, generation: generation) {
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            return response
        }
        throw CancellationError()
    }

    /// Answers a text with pictures.
    public func callAsFunction(
        _ text: String, _ images: RGBImage..., generation: GenerationConfig = .init()
    ) async throws -> Response {
        try await self(Prompt(text, images: images), generation: generation)
    }

    /// Answers the last message of a conversation.
    public func callAsFunction(_ messages: [ChatMessage], generation: GenerationConfig = .init()) async throws -> Response {
        try await self(.messages(messages), generation: generation)
    }

    /// Answers one prompt piece by piece. Dropping the stream cancels the request.
    public func stream(_ prompt: Prompt, generation: GenerationConfig = .init()) -> AsyncThrowingStream<ResponsePiece, any Error>
    {
        stream([prompt], generation: generation, failsAlone: false)
    }

    /// Answers a text with pictures piece by piece.
    public func stream(
        _ text: String, _ images: RGBImage..., generation: GenerationConfig = .init()
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        stream(Prompt(text, images: images), generation: generation)
    }

    // MARK: Several prompts

    /// Answers several prompts as one batch; the text of each is what it would be alone.
    ///
    /// A prompt that fails has the finish reason `error` and its ``Response/error``; the others finish.
    ///
    /// - Parameters:
    ///   - prompts: answered in any order, returned in this one.
    ///   - generation: the same for all.
    ///   - finished: called after each response with how many are done.
    public func callAsFunction(
        _ prompts: [Prompt], generation: GenerationConfig = .init(), finished: (@Sendable (Int) -> Void)? = nil
    ) async throws -> [Response] {
        var responses = [Response?](repeating: nil, count: prompts.count)
        var count = 0
        for try await piece in stream(prompts, generation: generation) {
            guard let response = piece.response else { continue }
            responses[response.index] = response
            count += 1
            finished?(count)
        }
        try Task.checkCancellation()
        return responses.compactMap { $0 }
    }

    /// Answers several prompts piece by piece, interleaved; ``ResponsePiece/index`` tells whose a piece is.
    public func stream(
        _ prompts: [Prompt], generation: GenerationConfig = .init()
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        stream(prompts, generation: generation, failsAlone: true)
    }

    private func stream(
        _ prompts: [Prompt], generation: GenerationConfig, failsAlone: Bool
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task { [engine, preparer, observer] in
                do {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for (index, prompt) in prompts.enumerated() {
                            group.addTask {
                                do {
                                    try await observer.observe(prompt, generation, index: index) { observed in
                                        let request = try await preparer.prepare(
                                            prompt, generation: generation, index: index, observer: observed)
                                        observed.submitted(request)
                                        for try await piece in engine.stream(request, waitsForRoom: failsAlone) {
                                            continuation.yield(observed.passing(piece))
                                        }
                                    }
                                } catch  where failsAlone && !(error is CancellationError) {
                                    continuation.yield(ResponsePiece(index: index, response: .failed(error, index: index)))
                                }
                            }
                        }
                        try await group.waitForAll()
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

    // MARK: Conversations

    /// Starts a conversation that remembers its turns.
    public func chat(system: String? = nil, generation: GenerationConfig = .init()) -> ChatSession {
        ChatSession(pipeline: self, system: system, generation: generation)
    }

    // MARK: Parts

    /// What the model will be given for a prompt: token ids and processed images. Nothing is computed.
    package func prepare(_ prompt: Prompt, generation: GenerationConfig = .init()) async throws -> EngineRequest {
        try await preparer.prepare(prompt, generation: generation, index: 0)
    }

    /// The message with its pictures read and decoded.
    func decodingImages(_ message: ChatMessage) async throws -> ChatMessage {
        var decoded = message
        for (index, part) in message.content.enumerated() {
            guard case .image(let source) = part else { continue }
            decoded.content[index] = .image(.image(try await loadImage(source, limits: setup.options.imageLimits)))
        }
        return decoded
    }

    /// The tokens of a text, special tokens included where the tokenizer adds them.
    public func tokenize(_ text: String) throws -> [Int32] { try setup.tokenizer.encode(text, addSpecialTokens: true) }

    /// The text of tokens.
    public func detokenize(_ ids: [Int32], skipSpecialTokens: Bool = true) -> String {
        setup.tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens)
    }

    /// Ends pending requests with an error and frees weights and caches. Closing twice is fine.
    public func close() async throws { await engine.close() }
}

/// Loads a model, hands it to `body` and closes it on every path out.
@discardableResult
public func withPipeline<Result: Sendable>(
    model: String, engineConfig: EngineConfig = .init(), visionConfig: VisionConfig = .init(), options: PipelineOptions = .init(),
    _ body: (Pipeline) async throws -> Result
) async throws -> Result {
    let pipeline = try await Pipeline(model: model, engineConfig: engineConfig, visionConfig: visionConfig, options: options)
    do {
        let result = try await body(pipeline)
        try await pipeline.close()
        return result
    } catch {
        try await pipeline.close()
        throw error
    }
}
