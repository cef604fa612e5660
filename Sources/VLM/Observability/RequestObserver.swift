import Engine
import Models
import Synchronization
import Tracing

/// Follows one request from the call to its end.
///
/// Costs a few readings of the clock for a request and nothing for a token when nobody listens.
final class RequestObserver: Sendable {
    fileprivate struct State {
        var record: RequestRecord
        var images: [Int: RequestRecord.Image] = [:]
        /// Of pictures that are neither ready nor known to be bad.
        var spans: [Int: any Span] = [:]
        /// When the engine got it, in nanoseconds since 1970, for spans.
        var submitted: UInt64?
        var isOver = false
    }

    private let trace: RequestTrace?
    private let collectsText: Bool
    private let moved: @Sendable () -> Void
    private let ended: @Sendable (RequestRecord) -> Void
    private let clock = ContinuousClock()
    private let began: ContinuousClock.Instant
    private let state: Mutex<State>

    /// - Parameters:
    ///   - moved: called when the request goes to the engine, and when its first token comes.
    ///   - ended: called once.
    init(
        _ record: RequestRecord, trace: RequestTrace?, collectsText: Bool, moved: @escaping @Sendable () -> Void,
        ended: @escaping @Sendable (RequestRecord) -> Void
    ) {
        self.trace = trace
        self.collectsText = collectsText
        self.moved = moved
        self.ended = ended
        began = clock.now
        state = Mutex(State(record: record))
    }

    private var seconds: Double { (clock.now - began) / .seconds(1) }

    // MARK: Preparation

    /// A picture is about to be read.
    func begin(image index: Int) {
        guard let span = trace?.image(index) else { return }
        state.withLock { $0.spans[index] = span }
    }

    /// A picture is ready.
    func end(image index: Int, _ picture: PreparedPicture) {
        let note = RequestRecord.Image(
            width: picture.width, height: picture.height, byteCount: picture.fileBytes,
            tileCount: picture.image.content.tileCount,
            tokenCount: picture.image.content.tokenCount, load: picture.load, preprocess: picture.preprocess)
        let span = state.withLock { state in
            state.images[index] = note
            return state.spans.removeValue(forKey: index)
        }
        if let span { RequestTrace.end(span, note) }
    }

    /// A picture cannot be had.
    func end(image index: Int, _ error: any Error) {
        let span = state.withLock { $0.spans.removeValue(forKey: index) }
        if let span { RequestTrace.end(span, error) }
    }

    /// The prompt is ready and goes to the engine.
    func submitted(_ request: EngineRequest) {
        let seconds = seconds
        state.withLock { state in
            state.record.preparation = seconds
            state.record.promptTokenCount = request.tokenIDs.count
            if trace != nil { state.submitted = DefaultTracerClock.now.nanosecondsSinceEpoch }
        }
        moved()
    }

    // MARK: Generation

    /// Notes a piece on its way to the caller, and completes the times of the response in the last one.
    func passing(_ piece: ResponsePiece) -> ResponsePiece {
        var piece = piece
        let now = seconds
        var isFirst = false
        let record: RequestRecord? = state.withLock { state in
            guard !state.isOver else { return nil }
            if !piece.tokenIDs.isEmpty {
                isFirst = state.record.firstToken == nil
                if isFirst { state.record.firstToken = now }
                state.record.generatedTokenCount += piece.tokenIDs.count
            }
            if collectsText { state.record.answer = (state.record.answer ?? "") + piece.text }
            guard var response = piece.response else { return nil }
            state.close(now)
            response.timings.imageLoad = state.record.imageLoad
            response.timings.preprocess = state.record.preprocess
            piece.response = response
            state.record.take(response)
            return state.record
        }
        if isFirst { moved() }
        if let record { tell(record, error: piece.response?.error) }
        return piece
    }

    /// The request ends without a response, unless it had one.
    func end(_ error: any Error) {
        let now = seconds
        let record: RequestRecord? = state.withLock { state in
            guard !state.isOver else { return nil }
            state.close(now)
            state.record.finishReason = error is CancellationError ? .abort : .error
            state.record.note(error)
            return state.record
        }
        if let record { tell(record, error: error) }
    }

    private func tell(_ record: RequestRecord, error: (any Error)?) {
        // Pictures that were given up because another one of the request was bad, or the request was cancelled.
        let spans = state.withLock { state in
            defer { state.spans.removeAll() }
            return state.spans.values
        }
        for span in spans { RequestTrace.end(span, CancellationError()) }
        trace?.end(record, submitted: state.withLock { $0.submitted }, error: error)
        ended(record)
    }
}

extension RequestObserver.State {
    fileprivate mutating func close(_ now: Double) {
        isOver = true
        record.total = now
        record.images = images.sorted { $0.key < $1.key }.map(\.value)
        record.imageLoad = record.images.reduce(0) { $0 + $1.load }
        record.preprocess = record.images.reduce(0) { $0 + $1.preprocess }
    }
}

extension RequestRecord {
    fileprivate mutating func take(_ response: Response) {
        finishReason = response.finishReason
        cachedTokenCount = response.cachedTokenCount
        cachedImageCount = response.cachedImageCount
        queue = response.timings.queue
        vision = response.timings.vision
        prefill = response.timings.prefill
        decode = response.timings.decode
        if let error = response.error { note(error) }
    }

    fileprivate mutating func note(_ error: any Error) {
        errorKind = RequestRecord.kind(of: error)
        errorMessage = "\(error)"
    }
}
