import Engine
import Foundation
import Imaging
import JSON
import Models
import Synchronization
import Text

/// What is to be asked, with what is known of it from the turns before.
struct Conversation: Sendable {
    var prompt: Prompt
    /// Pictures of the first messages, which need not be looked at again; the others are prepared.
    var pictures: [PreparedPicture] = []
    /// Tokens of the turns before.
    var tokens = ConversationTokens()
    /// The model that pictures and tokens belong to; nil when there are none.
    var modelID: UUID?
}

/// What the engine is given, and what is kept for the turns after.
struct PreparedPrompt: Sendable {
    var request: EngineRequest
    /// The text that was tokenised: rendered, placeholders expanded.
    let rendered: String
    let pictures: [PreparedPicture]
    /// Memory of the pictures that were prepared for it.
    fileprivate let lease: MemoryLease

    /// Frees its place in memory for other requests' pictures, when the response is finished.
    func end() { lease.end() }
}

/// Bytes that count as held until the lease ends, or is forgotten.
private final class MemoryLease: Sendable {
    private let gate: PreparationGate
    private let bytes = Atomic(0)

    init(_ gate: PreparationGate) { self.gate = gate }

    func hold(_ count: Int) {
        gate.hold(bytes: count)
        bytes.wrappingAdd(count, ordering: .relaxed)
    }

    func end() {
        let held = bytes.exchange(0, ordering: .relaxed)
        if held > 0 { gate.release(bytes: held) }
    }

    deinit { end() }
}

/// Turns a prompt into tokens and processed images: decode, resize, render the template, expand placeholders, tokenise.
///
/// Pure CPU work on values; many prompts are prepared at once, off the engine's executor.
struct RequestPreparer: Sendable {
    private let setup: PipelineSetup
    private let model: ModelPrompting
    private let template: ChatTemplate?
    private let preparer: PicturePreparer?
    /// Requests whose pictures are being prepared, and the bytes of prepared pictures of all that are not over.
    private let admission: PreparationGate
    private let imageTokenID: Int32?
    private let guides: ResponseGuides
    /// Tells pictures and tokens of one model from those of another that is loaded later.
    let id = UUID()
    /// The same where tokens mean the same.
    let tokenizerMark: String

    /// Pictures of one request that are read or fetched at once.
    private static let readsAtOnce = 8

    init(setup: PipelineSetup, model: ModelPrompting) throws {
        self.setup = setup
        self.model = model
        tokenizerMark = setup.tokenizerMark
        let loader = ImageLoader(limits: setup.options.imageLimits)
        preparer = model.imageProcessor.map { PicturePreparer(processor: $0, options: setup.imageOptions, loader: loader) }
        admission = PreparationGate(
            places: ProcessInfo.processInfo.activeProcessorCount,
            byteLimit: min(max(HostMemory.availableBytes / 4, 256 << 20), 8 << 30))
        guides = ResponseGuides(
            tokenizer: setup.tokenizer, vocabularySize: model.vocabularySize, stopTokens: model.stopTokens)
        imageTokenID = try model.rule?.imageTokenID(lookup: setup.tokenizer.tokenID)
        // A family whose authors keep templates in code brings one for checkpoints that have none.
        template =
            try setup.chatTemplate ?? model.rule?.fallbackTemplate.map { try ChatTemplate(source: $0, name: model.family) }
    }

    /// Prepares a prompt. Its pictures' memory counts as taken until ``PreparedPrompt/end()``.
    ///
    /// - Parameter observer: notes what each image took.
    func prepare(
        _ conversation: Conversation, generation: GenerationConfig, options: RequestOptions = RequestOptions(), index: Int = 0,
        observer: RequestObserver? = nil
    ) async throws -> PreparedPrompt {
        try generation.validate()
        try options.validate()
        guard conversation.modelID == nil || conversation.modelID == id else {
            throw EngineError(.closed, "another model was loaded while the turn was under way; ask again")
        }
        // A form that cannot be held is told before pictures are looked at.
        let guide = try generation.responseFormat.map { try guides.guide($0) }
        let messages = try conversation.prompt.placed()
        try ChatMessage.validate(messages)
        let count = messages.reduce(0) { $0 + $1.images.count }
        let known = preparer?.kept(conversation.pictures, among: count) ?? []
        let lease = MemoryLease(admission)
        let new = Array(messages.flatMap(\.images).dropFirst(known.count))
        let pictures = try await known + pictures(new, from: known.count, options, observer, lease)
        try Task.checkCancellation()
        let images = pictures.map(\.image)
        let rendered = try expand(try render(messages, options), images.map(\.content))
        let tokens = try tokens(of: rendered, after: conversation.tokens)
        var request = EngineRequest(tokenIDs: tokens, images: images, generation: generation, index: index)
        request.guide = guide
        return PreparedPrompt(request: request, rendered: rendered, pictures: pictures, lease: lease)
    }

    /// Prepares the pictures of messages again.
    func pictures(of messages: [ChatMessage]) async throws -> [PreparedPicture] {
        try await pictures(messages.flatMap(\.images), from: 0, RequestOptions(), nil, MemoryLease(admission))
    }

    // MARK: Images

    /// Prepares pictures side by side.
    ///
    /// - Parameter first: the number of the first one in its prompt.
    /// - Returns: the pictures in the order given.
    private func pictures(
        _ sources: [ImageSource], from first: Int, _ options: RequestOptions, _ observer: RequestObserver?, _ lease: MemoryLease
    ) async throws -> [PreparedPicture] {
        guard !sources.isEmpty else { return [] }
        guard let preparer else {
            throw EngineError(
                .unsupportedFeature,
                "\(model.family) is a text model and cannot look at images; leave the image out or choose a vision-language model"
            )
        }
        /// Tells the observer of a picture that fails.
        @Sendable func noting<Result>(_ index: Int, _ body: () async throws -> Result) async throws -> Result {
            do {
                return try await body()
            } catch {
                observer?.end(image: index, error)
                throw error
            }
        }
        let read = try await sources.mapConcurrently(atOnce: Self.readsAtOnce) { index, source in
            observer?.begin(image: first + index)
            return try await noting(first + index) { try await preparer.read(source, index: first + index) }
        }
        // Whoever waits here waits for pictures before it to be answered, not for slow ones to be read.
        try await admission.enter(priority: options.priority)
        defer { admission.leave() }
        let prepared = try await read.mapConcurrently(atOnce: ProcessInfo.processInfo.activeProcessorCount) { index, read in
            let picture = try await noting(first + index) {
                try await preparer.prepare(
                    read.source, index: first + index, name: sources[index].name, readIn: read.seconds,
                    priority: options.priority, among: first + sources.count)
            }
            observer?.end(image: first + index, picture)
            return picture
        }
        lease.hold(prepared.reduce(0) { $0 + $1.image.content.byteCount })
        return prepared
    }

    // MARK: Text

    private func render(_ messages: [ChatMessage], _ options: RequestOptions) throws -> String {
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
        return try template.render(
            messages: forms, addGenerationPrompt: true, tools: options.toolList(), specialTokens: specialTokens,
            extra: options.templateArguments.mapValues(\.json))
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
        return try encode(text, addSpecialTokens: !templateWritesAll && !beginsAlready)
    }

    /// Text to tokens, with the ids of image tokens that the tokenizer does not know.
    private func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32] {
        guard let rule = model.rule, rule.imageTokenIsForeign, let imageTokenID else {
            return try setup.tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
        }
        let pieces = text.pieces(separatedBy: rule.imageToken)
        var tokens = try setup.tokenizer.encode(pieces[0], addSpecialTokens: addSpecialTokens)
        for piece in pieces.dropFirst() {
            tokens.append(imageTokenID)
            if !piece.isEmpty { tokens += try setup.tokenizer.encode(piece, addSpecialTokens: false) }
        }
        return tokens
    }

    // MARK: Turns

    /// The tokens of the turns before as they were, and those of the rest; all anew where the text does not begin with the turns before,
    /// or goes on without a special token. A tokenizer sees through to what stands before ordinary text, so there the parts would not be the
    /// whole.
    private func tokens(of rendered: String, after earlier: ConversationTokens) throws -> [Int32] {
        if let (tokens, rest) = earlier.reused(in: rendered) {
            let more = try encode(rest, addSpecialTokens: false)
            if let first = more.first, setup.tokenizer.isSpecial(first) { return tokens + more }
        }
        return try tokenize(rendered)
    }

    /// The conversation's tokens with a turn that was answered.
    ///
    /// An answer that was cut at a stop word, or that has image tokens of the model's own making, is not what its tokens say; then the tokens
    /// before serve the next turn, and the answer is tokenised as text.
    func tokens(_ earlier: ConversationTokens, with prompt: PreparedPrompt, _ response: Response) -> ConversationTokens {
        let text = setup.tokenizer.decode(
            response.tokenIDs, skipSpecialTokens: prompt.request.generation.skipSpecialTokens)
        guard text == response.text, !response.tokenIDs.contains(where: { $0 == imageTokenID }) else { return earlier }
        var tokens = earlier
        tokens.append(
            rendered: prompt.rendered, promptTokens: prompt.request.tokenIDs, answer: response.text,
            answerTokens: response.tokenIDs)
        return tokens
    }
}
