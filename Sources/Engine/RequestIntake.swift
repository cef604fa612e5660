import Layers
import Models
import Text

/// Checks requests against what the model and its memory can ever do, and makes sequences of them.
struct RequestIntake {
    let model: LoadedModel
    let plan: MemoryPlan
    let tokenizer: any Tokenizer
    let stopTokens: Set<Int32>
    /// nil for text models.
    let imageTokenID: Int32?
    let encoder: ImageEncoder?

    /// - Throws: ``EngineError`` with the numbers when the request can never run.
    func sequence(_ request: EngineRequest, id: Int, sink: @escaping (ResponsePiece) -> Void) throws -> SequenceState {
        let generation = request.generation
        try generation.validate(vocabularySize: model.language.vocabularySize)
        let prompt = request.tokenIDs
        guard !prompt.isEmpty else { throw EngineError(.invalidRequest, "the prompt has no tokens; give it some text") }
        if let bad = prompt.first(where: { $0 < 0 || Int($0) >= model.language.vocabularySize }) {
            throw EngineError(
                .invalidRequest,
                "token \(bad) is outside the model's vocabulary of \(model.language.vocabularySize); tokenizer and model do not belong together"
            )
        }
        guard EngineRequest.priorities.contains(request.priority) else {
            throw EngineError(
                .invalidRequest,
                "priority \(request.priority) is outside \(EngineRequest.priorities.lowerBound)...\(EngineRequest.priorities.upperBound)"
            )
        }
        if let deadline = request.deadline, deadline <= .now { throw EngineError.deadlineExceeded }
        let room = plan.sessionLen - prompt.count
        guard room >= (generation.maxNewTokens == 0 ? 0 : 1) else {
            throw EngineError(
                .contextLengthExceeded,
                "the prompt has \(prompt.count) tokens, the session holds \(plan.sessionLen); shorten it, use fewer or smaller images, "
                    + "or raise sessionLen (the model allows \(model.language.longestSession))")
        }
        guard generation.minNewTokens <= room else {
            throw EngineError(
                .contextLengthExceeded,
                "a prompt of \(prompt.count) tokens leaves \(room) of the session's \(plan.sessionLen), minNewTokens asks for "
                    + "\(generation.minNewTokens); lower it, shorten the prompt, or raise sessionLen")
        }
        let sequence = try SequenceState(
            id: id, request: request, maxNewTokens: min(generation.maxNewTokens ?? room, room),
            positions: model.positions(tokenIDs: prompt, images: request.images), imageRuns: imageRuns(request),
            spanRule: model.spanRule, stopTokens: stopTokens.union(generation.stopTokenIDs),
            seed: generation.randomSeed ?? .random(in: .min ... .max),
            tokenizer: tokenizer, sink: sink)
        // Beside a token of every other sequence.
        let most = plan.maxPrefillTokens - plan.maxBatchSize + 1
        if let span = sequence.spans.first(where: { $0.count > most }) {
            throw EngineError(
                .contextLengthExceeded,
                "\(span.count) tokens of the prompt see one another in \(model.family) and are computed together, a pass has room for \(most); "
                    + "shorten the prompt, use smaller images, or raise maxPrefillTokenNum to \(span.count + plan.maxBatchSize - 1)"
            )
        }
        return sequence
    }

    private func imageRuns(_ request: EngineRequest) throws -> [ImageRun] {
        guard let imageTokenID, let encoder else {
            guard request.images.isEmpty else {
                throw EngineError(.unsupportedFeature, "\(model.family) is a text model and cannot look at images")
            }
            return []
        }
        let runs = try ImageRun.find(in: request.tokenIDs, imageTokenID: imageTokenID, images: request.images)
        for (index, image) in request.images.enumerated() { try encoder.check(image, index: index) }
        return runs
    }
}
