public import Engine
public import Extraction
public import Imaging

extension Pipeline {
    /// Reads a value out of a picture or text: the answer is held to the type's form, token by token, so that it always is one.
    ///
    ///     let receipt = try await pipeline.extract(Receipt.self, "Read this receipt.", image)
    ///
    /// The prompt ends with what the fields mean (``ExtractionSchema/instructions``).
    ///
    /// - Parameters:
    ///   - type: what to read.
    ///   - prompt: the question.
    ///   - generation: leaves ``GenerationConfig/responseFormat`` to the type and ``GenerationConfig/n`` at 1.
    ///   - describesFields: whether the prompt tells the model about the fields; without, the type holds its answer all the same.
    /// - Throws: ``ExtractionError`` when the answer ends before the value does, or holds a number that the type cannot; and what
    ///   asking throws otherwise.
    public func extract<Value: Extractable>(
        _ type: Value.Type, _ prompt: Prompt, generation: GenerationConfig = .init(maxNewTokens: 2048),
        describesFields: Bool = true
    ) async throws -> Value {
        for try await piece in stream(type, prompt, generation: generation, describesFields: describesFields) {
            if let value = piece.value { return value }
        }
        throw CancellationError()
    }

    /// Reads a value out of a text with pictures.
    public func extract<Value: Extractable>(
        _ type: Value.Type, _ text: String, _ images: RGBImage..., generation: GenerationConfig = .init(maxNewTokens: 2048),
        describesFields: Bool = true
    ) async throws -> Value {
        try await extract(type, Prompt(text, images: images), generation: generation, describesFields: describesFields)
    }

    /// Reads a value and hands out what is known of it while it arrives; the last of the stream has the whole ``ExtractionPiece/value``.
    ///
    ///     for try await receipt in pipeline.stream(Receipt.self, "Read this receipt.", image) {
    ///         show(receipt.partial.shop ?? "…", receipt.partial.lines ?? [])
    ///     }
    ///
    /// Dropping the stream cancels the request.
    public func stream<Value: Extractable>(
        _ type: Value.Type, _ prompt: Prompt, generation: GenerationConfig = .init(maxNewTokens: 2048),
        describesFields: Bool = true
    ) -> AsyncThrowingStream<ExtractionPiece<Value>, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    let schema = Value.schema
                    guard generation.responseFormat == nil else {
                        throw EngineError(
                            .invalidRequest, "responseFormat is given by \(Value.self) when a value is extracted; leave it out")
                    }
                    guard generation.n == 1 else {
                        throw EngineError(.invalidRequest, "n must be 1 when a value is extracted, not \(generation.n)")
                    }
                    var generation = generation
                    generation.responseFormat = .jsonSchema(schema.jsonSchema)
                    var reader = ExtractionReader<Value>()
                    let prompt = describesFields ? prompt.appending(schema.instructions) : prompt
                    for try await piece in self.stream(prompt, generation: generation) {
                        let news = reader.read(piece.text)
                        guard let response = piece.response else {
                            if let news { continuation.yield(ExtractionPiece(partial: news, value: nil, response: nil)) }
                            continue
                        }
                        if let error = response.error { throw error }
                        let (value, partial) = try reader.finish(
                            endedByLength: response.finishReason == .length, tokenCount: response.generatedTokenCount)
                        continuation.yield(ExtractionPiece(partial: partial, value: value, response: response))
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

    /// Reads a value out of a text with pictures and hands out what is known of it while it arrives.
    public func stream<Value: Extractable>(
        _ type: Value.Type, _ text: String, _ images: RGBImage..., generation: GenerationConfig = .init(maxNewTokens: 2048),
        describesFields: Bool = true
    ) -> AsyncThrowingStream<ExtractionPiece<Value>, any Error> {
        stream(type, Prompt(text, images: images), generation: generation, describesFields: describesFields)
    }
}
