public import Engine
public import Imaging

/// A conversation: each question is answered with the turns before it in mind.
///
/// A turn that fails or is cancelled leaves the history as it was.
public actor ChatSession {
    private let pipeline: Pipeline
    private let generation: GenerationConfig
    /// System message, questions and answers so far.
    public private(set) var messages: [ChatMessage]

    init(pipeline: Pipeline, system: String?, generation: GenerationConfig) {
        self.pipeline = pipeline
        self.generation = generation
        messages = system.map { [ChatMessage(role: "system", content: [.text($0)])] } ?? []
    }

    /// Asks the next question.
    public func callAsFunction(_ text: String, images: [ImageSource] = []) async throws -> Response {
        for try await piece in stream(text, images: images) {
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            return response
        }
        throw CancellationError()
    }

    /// Asks the next question and hands the answer out piece by piece.
    public nonisolated func stream(_ text: String, images: [ImageSource] = []) -> AsyncThrowingStream<ResponsePiece, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    try await self.turn(text, images) { continuation.yield($0) }
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

    private func turn(_ text: String, _ images: [ImageSource], _ yield: (ResponsePiece) -> Void) async throws {
        let question = try Prompt(text, images: images).placed()
        // Pictures are decoded once; later turns reuse the pixels.
        var decoded: [ChatMessage] = []
        for message in question { decoded.append(try await pipeline.decodingImages(message)) }
        for try await piece in pipeline.stream(.messages(messages + decoded), generation: generation) {
            yield(piece)
            if let response = piece.response, response.error == nil {
                messages += decoded + [ChatMessage(role: "assistant", content: [.text(response.text)])]
            }
        }
    }

    /// Forgets all turns, and keeps the system message.
    public func reset() { messages.removeAll { $0.role != "system" } }
}
