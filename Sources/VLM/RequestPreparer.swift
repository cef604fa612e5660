import Engine
import Foundation
import Imaging
import JSON
import Models
import Text

/// Turns a prompt into tokens and processed images: decode, resize, render the template, expand placeholders, tokenise.
///
/// Pure CPU work on values; many prompts are prepared at once, off the engine's executor.
struct RequestPreparer: Sendable {
    private let setup: PipelineSetup
    private let model: ModelPrompting
    private let template: ChatTemplate?
    private let loader: ImageLoader

    init(setup: PipelineSetup, model: ModelPrompting) throws {
        self.setup = setup
        self.model = model
        loader = ImageLoader(limits: setup.options.imageLimits)
        // A family whose authors keep templates in code brings one for checkpoints that have none.
        template =
            try setup.chatTemplate ?? model.rule?.fallbackTemplate.map { try ChatTemplate(source: $0, name: model.family) }
    }

    /// - Parameter observer: notes what each image took.
    func prepare(
        _ prompt: Prompt, generation: GenerationConfig, index: Int, observer: RequestObserver? = nil
    ) async throws -> EngineRequest {
        try generation.validate()
        let messages = try prompt.placed()
        try ChatMessage.validate(messages)
        let images = try await process(messages.flatMap(\.images), observer)
        try Task.checkCancellation()
        let text = try render(messages)
        let tokens = try tokenize(expand(text, images))
        return EngineRequest(tokenIDs: tokens, images: images, generation: generation, index: index)
    }

    // MARK: Images

    /// Decodes and processes images side by side, in the order given.
    private func process(_ sources: [ImageSource], _ observer: RequestObserver?) async throws -> [ProcessedImage] {
        guard !sources.isEmpty else { return [] }
        guard let processor = model.imageProcessor else {
            throw EngineError(
                .unsupportedFeature,
                "\(model.family) is a text model and cannot look at images; leave the image out or choose a vision-language model"
            )
        }
        let options = setup.imageOptions
        return try await withThrowingTaskGroup(of: (Int, ProcessedImage).self) { group in
            var results = [ProcessedImage?](repeating: nil, count: sources.count)
            var next = 0
            func start() {
                let (index, source) = (next, sources[next])
                next += 1
                group.addTask {
                    let load = { try await loader.loadCounting(source, index: index) }
                    let process = { try processor.process($0, options: options) }
                    guard let observer else { return (index, try process(try await load().image)) }
                    return (index, try await observer.image(index, load: load, process: process))
                }
            }
            // Decoded pictures are large, so only as many as there are cores are held at once.
            while next < min(sources.count, ProcessInfo.processInfo.activeProcessorCount) { start() }
            while let (index, image) = try await group.next() {
                results[index] = image
                if next < sources.count { start() }
            }
            return results.compactMap { $0 }
        }
    }

    // MARK: Text

    private func render(_ messages: [ChatMessage]) throws -> String {
        guard let template else {
            // A base model without a template continues a text.
            guard messages.count == 1, messages[0].images.isEmpty else {
                throw PromptError(
                    "\(setup.folder) has no chat template, so it can only continue a single text; give one with --chat-template")
            }
            return RequestPreparer.text(of: messages[0])
        }
        let tokenizer = setup.tokenizer
        var specialTokens: [String: String] = [:]
        specialTokens["bos_token"] = tokenizer.bosToken
        specialTokens["eos_token"] = tokenizer.eosToken
        specialTokens["pad_token"] = tokenizer.padToken
        specialTokens["unk_token"] = tokenizer.unkToken
        let forms = messages.map { templateForm($0, acceptsText: template.acceptsText) }
        return try template.render(messages: forms, addGenerationPrompt: true, specialTokens: specialTokens)
    }

    /// A message as templates expect it: a text alone as a string, otherwise a list of parts; or always a string where the
    /// family's templates take nothing else, and never one where the template would drop it.
    private func templateForm(_ message: ChatMessage, acceptsText: Bool) -> JSONValue {
        let content: JSONValue
        if let image = model.rule?.imageContent {
            content = .string(RequestPreparer.text(of: message, image: image))
        } else if acceptsText, message.images.isEmpty, message.content.count == 1 || model.rule == nil {
            content = .string(RequestPreparer.text(of: message))
        } else {
            content = .array(
                message.content.map { part in
                    switch part {
                    case .text(let text): .object(JSONObject([("type", .string("text")), ("text", .string(text))]))
                    case .image: .object(JSONObject([("type", .string("image"))]))
                    }
                })
        }
        return .object(JSONObject([("role", .string(message.role)), ("content", content)]))
    }

    /// The parts as one text, with `image` in the place of each picture.
    private static func text(of message: ChatMessage, image: String = "") -> String {
        message.content.map { part in
            if case .text(let text) = part { text } else { image }
        }.joined()
    }

    /// Replaces each image placeholder by the tokens of its image, in order.
    private func expand(_ text: String, _ images: [ProcessedImage]) throws -> String {
        guard let rule = model.rule else { return text }
        let pieces = text.pieces(separatedBy: rule.imagePlaceholder)
        guard pieces.count - 1 == images.count else {
            throw PromptError(
                "the prompt has \(pieces.count - 1) image placeholders (\(rule.imagePlaceholder)) and \(images.count) images; "
                    + "leave placeholders out of the text, each image brings its own")
        }
        var expanded = pieces[0]
        for (image, piece) in zip(images, pieces.dropFirst()) {
            expanded += rule.expansion(image)
            expanded += piece
        }
        return expanded
    }

    /// Tokenises as transformers does: a processor adds special tokens unless the template wrote the first one already; a text model's
    /// chat template writes all of them itself.
    private func tokenize(_ text: String) throws -> [Int32] {
        let templateWritesAll = template != nil && model.rule == nil
        let beginsAlready = setup.tokenizer.bosToken.map { text.hasPrefix($0) } ?? false
        return try setup.tokenizer.encode(text, addSpecialTokens: !templateWritesAll && !beginsAlready)
    }
}
