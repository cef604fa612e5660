public import Engine
public import Imaging
import Synchronization

/// A conversation: each question is answered with the turns before it in mind.
///
///     let chat = pipeline.chat(system: "Be brief.")
///     let sign = try await chat("What does the sign say?", images: [.path("sign.png")])
///     let color = try await chat("What color is it?")
///
/// A turn costs only what is new in it: the tokens of earlier turns are kept exactly as the model read and wrote them, so that the engine
/// finds their keys and values in its prefix cache, and pictures are read, decoded and processed once. Where the chat template renders
/// earlier turns otherwise than it did when they were new (it leaves out reasoning, or trims answers), the conversation is tokenised anew
/// from there.
///
/// A turn that fails or is cancelled leaves the history as it was. Turns asked at the same time, and ``rewind(turns:)`` and
/// ``reset()``, wait for each other: one happens after the other, in the order of the calls.
public actor ChatSession {
    struct Turn: Sendable {
        let question: [ChatMessage]
        let answer: ChatMessage
        var pictures: [PreparedPicture]

        var messages: [ChatMessage] { question + [answer] }
    }

    private let pipeline: Pipeline
    private let generation: GenerationConfig
    private let options: RequestOptions
    private let system: [ChatMessage]
    private var turns: [Turn]
    /// What the model read and wrote so far.
    package private(set) var tokens: ConversationTokens
    /// Of the model that ``tokens`` and the turns' pictures belong to.
    private var preparer: RequestPreparer
    /// The last of those that wait for each other.
    private nonisolated let last = Mutex<Task<Void, Never>?>(nil)

    init(
        pipeline: Pipeline, preparer: RequestPreparer, system: [ChatMessage], generation: GenerationConfig,
        options: RequestOptions,
        turns: [Turn] = [], tokens: ConversationTokens = ConversationTokens()
    ) {
        self.pipeline = pipeline
        self.preparer = preparer
        self.system = system
        self.generation = generation
        self.options = options
        self.turns = turns
        self.tokens = tokens
    }

    /// System message, questions and answers so far. Pictures are the bytes or pixels that were read when they were new.
    public var messages: [ChatMessage] { system + turns.flatMap(\.messages) }

    /// Questions that were answered.
    public var turnCount: Int { turns.count }

    // MARK: Asking

    /// Asks the next question.
    ///
    /// - Parameters:
    ///   - text: the question; marks in it say where pictures go, see ``Prompt``.
    ///   - images: its pictures.
    ///   - generation: for this turn; nil takes the session's.
    ///   - options: likewise.
    /// - Throws: what was wrong with the question or its pictures, or what failed; the history is then as it was.
    public nonisolated func callAsFunction(
        _ text: String, images: [ImageSource] = [], generation: GenerationConfig? = nil, options: RequestOptions? = nil
    ) async throws -> Response {
        for try await piece in stream(text, images: images, generation: generation, options: options) {
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            return response
        }
        throw CancellationError()
    }

    /// Asks the next question and hands the answer out piece by piece. Dropping the stream cancels the turn.
    public nonisolated func stream(
        _ text: String, images: [ImageSource] = [], generation: GenerationConfig? = nil, options: RequestOptions? = nil
    ) -> AsyncThrowingStream<ResponsePiece, any Error> {
        let prompt = Prompt(text, images: images)
        return AsyncThrowingStream { continuation in
            let task = inOrder {
                do {
                    try Task.checkCancellation()
                    try await self.turn(prompt, generation, options) { continuation.yield($0) }
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

    /// Runs `body` when everything that was asked for before is over.
    @discardableResult
    private nonisolated func inOrder(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        last.withLock { last in
            let task = Task { [before = last] in
                await before?.value
                await body()
            }
            last = task
            return task
        }
    }

    private func turn(
        _ prompt: Prompt, _ generation: GenerationConfig?, _ options: RequestOptions?,
        _ yield: @escaping @Sendable (ResponsePiece) -> Void
    ) async throws {
        let generation = generation ?? self.generation
        let question = try prompt.placed()
        try await followModel()
        let conversation = Conversation(
            prompt: .messages(messages + question), pictures: turns.flatMap(\.pictures), tokens: tokens,
            modelID: preparer.id)
        let known = conversation.pictures.count
        let options = options ?? self.options
        guard generation.n == 1 else {
            throw EngineError(
                .invalidRequest, "n is \(generation.n), and a turn of a chat has one answer; branch() the session for more")
        }
        try await pipeline.answer(
            conversation, generation: generation, options: options, deadline: options.deadline
        ) { prepared, piece in
            if let response = piece.response, response.error == nil {
                // Before the last piece leaves, so that whoever has it finds the turn in the history.
                let pictures = Array(prepared.pictures.dropFirst(known))
                await self.append(question, pictures, response, prepared)
            }
            yield(piece)
        }
    }

    private func append(_ question: [ChatMessage], _ pictures: [PreparedPicture], _ response: Response, _ prompt: PreparedPrompt)
    {
        tokens = preparer.tokens(tokens, with: prompt, response)
        turns.append(
            Turn(
                question: question.replacingImages(pictures.map(\.source)), answer: .assistant(response.text), pictures: pictures)
        )
    }

    /// Prepares the pictures again when another model was loaded since.
    private func followModel() async throws {
        let current = pipeline.preparer
        guard current.id != preparer.id else { return }
        var turns = turns
        for index in turns.indices {
            turns[index].pictures = try await current.pictures(of: turns[index].question)
        }
        self.turns = turns
        if current.tokenizerMark != preparer.tokenizerMark { tokens = ConversationTokens() }
        preparer = current
    }

    // MARK: History

    /// A session that goes on from here by itself; neither sees what the other is asked from now on.
    public func branch() -> ChatSession {
        ChatSession(
            pipeline: pipeline, preparer: preparer, system: system, generation: generation, options: options, turns: turns,
            tokens: tokens)
    }

    /// Takes the newest turns back, questions and answers.
    ///
    /// - Throws: ``ChatError`` when there are not so many.
    public func rewind(turns count: Int = 1) async throws {
        let result = Mutex<Result<Void, any Error>>(.success(()))
        await inOrder { await self.drop(count) { error in result.withLock { $0 = .failure(error) } } }.value
        try result.withLock { $0 }.get()
    }

    private func drop(_ count: Int, _ fail: (ChatError) -> Void) {
        guard (0...turns.count).contains(count) else {
            return fail(ChatError(.noSuchTurn, "\(count) turns cannot be taken back; the session has \(turns.count)"))
        }
        turns.removeLast(count)
    }

    /// Forgets all turns, and keeps the system message.
    public func reset() async {
        await inOrder { await self.forget() }.value
    }

    private func forget() {
        turns.removeAll()
        tokens = ConversationTokens()
    }

    // MARK: Saving

    /// Everything that is needed to go on later or elsewhere; see ``Pipeline/chat(restoring:generation:options:)``.
    public func snapshot() -> ChatSnapshot {
        ChatSnapshot(
            model: pipeline.model, tokenizer: preparer.tokenizerMark, system: system, turns: turns.map(\.messages),
            tokens: tokens)
    }

    /// Writes ``snapshot()`` to a file, as JSON.
    ///
    /// - Throws: ``ChatError`` when the file cannot be written.
    public func save(to path: String) throws { try snapshot().write(to: path) }
}

extension [ChatMessage] {
    /// The messages with their pictures' sources replaced, in order.
    fileprivate func replacingImages(_ sources: [ImageSource]) -> [ChatMessage] {
        var sources = sources[...]
        return map { message in
            var message = message
            message.content = message.content.map { part in
                guard case .image = part, let source = sources.popFirst() else { return part }
                return .image(source)
            }
            return message
        }
    }
}
