import CPUBackend
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
    private let current: CurrentModel
    let observer: PipelineObserver

    /// What answers now; after ``reload(model:progress:)`` something else does.
    var loaded: PipelineModel { current.now }
    /// What the pipeline was made from, and where its memory goes.
    package var setup: PipelineSetup { loaded.setup }
    package var engine: Engine { loaded.engine }
    var preparer: RequestPreparer { loaded.preparer }

    /// The model as it was asked for.
    public var model: String { setup.name }

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
        let current = CurrentModel(try await PipelineModel(setup, progress: progress))
        self.current = current
        observer = PipelineObserver(options.observability, model: model) { try await current.now.engine.statistics() }
    }

    // MARK: One prompt

    /// Answers one prompt.
    ///
    /// - Parameters:
    ///   - prompt: what to ask.
    ///   - generation: how; ``GenerationConfig/n`` must be 1, see ``responses(to:generation:options:)``.
    ///   - options: its priority, its time, what its chat template is told.
    /// - Throws: what was wrong with the prompt or its images, or what failed.
    public func callAsFunction(
        _ prompt: Prompt, generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) async throws -> Response {
        guard generation.n == 1 else {
            throw EngineError(
                .invalidRequest, "n is \(generation.n) and one response is wanted; call responses(to:), or give a list of prompts"
            )
        }
        for try await piece in stream(prompt, generation: generation, options: options) {
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
    public func callAsFunction(
        _ messages: [ChatMessage], generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) async throws -> Response {
        try await self(.messages(messages), generation: generation, options: options)
    }

    /// Answers one prompt as often as ``GenerationConfig/n`` says; the prompt is computed once.
    ///
    /// The first response is what it would be alone. The others have seeds that follow from the first one's, so a seed fixes them all.
    ///
    /// - Throws: what was wrong with the prompt or its images, or what failed for any of them.
    public func responses(
        to prompt: Prompt, generation: GenerationConfig, options: RequestOptions = .init()
    ) async throws -> [Response] {
        let responses = try await self([prompt], generation: generation, options: options)
        for response in responses {
            if let error = response.error { throw error }
        }
        return responses
    }

    /// Answers one prompt piece by piece; ``ResponsePiece/choice`` tells which response a piece belongs to where
    /// ``GenerationConfig/n`` asks for several. Dropping the stream cancels the request.
    public func stream(
        _ prompt: Prompt, generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        stream([prompt], generations: [generation], options: options, failsAlone: false)
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
    /// A prompt that fails has the finish reason `error` and its ``Response/error``; the others finish. Any number of prompts may be
    /// given: as many are prepared and submitted as keep the engine busy.
    ///
    /// - Parameters:
    ///   - prompts: answered in any order, returned in this one; each ``GenerationConfig/n`` times.
    ///   - generation: the same for all.
    ///   - options: likewise.
    ///   - finished: called after each response with how many are done.
    public func callAsFunction(
        _ prompts: [Prompt], generation: GenerationConfig = .init(), options: RequestOptions = .init(),
        finished: (@Sendable (Int) -> Void)? = nil
    ) async throws -> [Response] {
        try await self(
            prompts, generation: Array(repeating: generation, count: prompts.count), options: options, finished: finished)
    }

    /// Answers several prompts as one batch, each in its own way.
    ///
    /// - Parameters:
    ///   - prompts: what to ask.
    ///   - generation: one for each prompt.
    ///   - options: the same for all.
    ///   - finished: called after each response with how many are done.
    /// - Throws: ``EngineError`` when there are more or fewer than prompts.
    public func callAsFunction(
        _ prompts: [Prompt], generation: [GenerationConfig], options: RequestOptions = .init(),
        finished: (@Sendable (Int) -> Void)? = nil
    ) async throws -> [Response] {
        var responses: [Response] = []
        for try await piece in stream(prompts, generation: generation, options: options) {
            guard let response = piece.response else { continue }
            responses.append(response)
            finished?(responses.count)
        }
        try Task.checkCancellation()
        return responses.sorted { ($0.index, $0.choice) < ($1.index, $1.choice) }
    }

    /// Answers several prompts piece by piece, interleaved; ``ResponsePiece/index`` tells whose a piece is.
    public func stream(
        _ prompts: [Prompt], generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        stream(prompts, generation: Array(repeating: generation, count: prompts.count), options: options)
    }

    /// Answers several prompts piece by piece, interleaved, each in its own way.
    ///
    /// - Parameters:
    ///   - prompts: what to ask.
    ///   - generation: one for each prompt; the stream throws an ``EngineError`` when there are more or fewer.
    ///   - options: the same for all.
    public func stream(
        _ prompts: [Prompt], generation: [GenerationConfig], options: RequestOptions = .init()
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        stream(prompts, generations: generation, options: options, failsAlone: true)
    }

    // MARK: Parts

    /// What the model will be given for a prompt: token ids and processed images. Nothing is computed.
    package func prepare(
        _ prompt: Prompt, generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) async throws -> EngineRequest {
        try await preparer.prepare(Conversation(prompt: prompt), generation: generation, options: options).request
    }

    /// The tokens of a text, special tokens included where the tokenizer adds them.
    public func tokenize(_ text: String) throws -> [Int32] { try setup.tokenizer.encode(text, addSpecialTokens: true) }

    /// The text of tokens.
    public func detokenize(_ ids: [Int32], skipSpecialTokens: Bool = true) -> String {
        setup.tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens)
    }

    /// What the engine has done since the model was loaded, and what it is doing.
    ///
    /// - Throws: ``EngineError`` when the pipeline is closed or asleep.
    public func statistics() async throws -> EngineStatistics { try await engine.statistics() }

    // MARK: Life

    /// Ends pending requests with an error of kind `closed` and gives back all memory of the model, on host and device. Closing twice is
    /// fine; everything asked later is refused with an error of the same kind.
    public func close() async throws {
        await engine.close()
        CPUBackend.returnFreeMemory()
    }

    /// Gives back the memory of weights and caches until ``wake()``.
    ///
    /// Requests under way keep what they have said so far and go on after waking, with the same text; new ones are refused with an error of
    /// kind `asleep`, but for those of a batch that was begun before, which wait. Sleeping twice is fine.
    ///
    /// - Throws: ``EngineError`` when the pipeline is closed.
    public func sleep() async throws {
        try await engine.sleep()
        CPUBackend.returnFreeMemory()
    }

    /// Loads the weights again after ``sleep()``; does nothing when awake.
    ///
    /// - Throws: ``EngineError`` when the pipeline is closed, or why the model could not be loaded again; the pipeline sleeps on then.
    public func wake() async throws {
        let model = loaded
        try await model.engine.wake { try model.setup.makeCore(progress: nil).core }
    }

    /// Replaces the model, or loads the same again, such as after its files changed. Requests under way end with an error of kind `closed`.
    ///
    /// The new model is looked at before the old one goes: configuration, tokenizer, names and shapes of its tensors. When its weights then
    /// cannot be loaded the pipeline is closed, and can be reloaded. Chat sessions go on with the new model, from the text and pictures of
    /// their turns. A closed pipeline is opened again.
    ///
    /// - Parameters:
    ///   - model: nil takes the same again.
    ///   - progress: told the share of the weights that is loaded, between 0 and 1.
    /// - Throws: as ``init(model:engineConfig:visionConfig:options:progress:)`` does.
    public func reload(model: String? = nil, progress: (@Sendable (Double) -> Void)? = nil) async throws {
        let old = setup
        let setup = try PipelineSetup(
            model: model ?? old.name, engineConfig: old.engineConfig, visionConfig: old.visionConfig, options: old.options)
        _ = try setup.outline()
        try await close()
        current.replace(by: try await PipelineModel(setup, progress: progress))
    }
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
