public import Engine

extension Pipeline {
    /// Starts a conversation that remembers its turns.
    ///
    /// - Parameters:
    ///   - system: what the model is told before the first question.
    ///   - generation: of every turn that has none of its own.
    ///   - options: likewise.
    public func chat(
        system: String? = nil, generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) -> ChatSession {
        ChatSession(
            pipeline: self, preparer: preparer, system: system.map { [.system($0)] } ?? [], generation: generation,
            options: options)
    }

    /// Goes on with a conversation that was saved, with this model or another one.
    ///
    /// Pictures are decoded and processed again; keys and values are computed with the next turn.
    ///
    /// - Throws: ``ChatError`` when the snapshot is not of a conversation, or what is wrong with its pictures.
    public func chat(
        restoring snapshot: ChatSnapshot, generation: GenerationConfig = .init(), options: RequestOptions = .init()
    ) async throws -> ChatSession {
        let (system, saved) = try snapshot.conversation()
        let preparer = preparer
        var turns: [ChatSession.Turn] = []
        for (question, answer) in saved {
            turns.append(
                ChatSession.Turn(question: question, answer: answer, pictures: try await preparer.pictures(of: question)))
        }
        // Tokens of another tokenizer would say something else.
        let tokens = snapshot.tokenizer == preparer.tokenizerMark ? snapshot.tokens : ConversationTokens()
        return ChatSession(
            pipeline: self, preparer: preparer, system: system, generation: generation, options: options, turns: turns,
            tokens: tokens)
    }
}
