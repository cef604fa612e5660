import Engine
import Foundation
import Imaging
import Synchronization
import VLM

/// Requests of every kind, so many at once, chosen at random and the same for the same seed.
struct Soak: Sendable {
    let pipeline: Pipeline
    let seed: UInt64
    let requestCount: Int
    let concurrency: Int
    /// Files that are asked about beside noise.
    let images: [String]
    let isVision: Bool

    /// Runs all requests.
    ///
    /// - Parameter report: given a line after each so many requests.
    /// - Throws: what no request should end with.
    func run(every period: Int, report: @escaping @Sendable (SoakRow) -> Void) async throws -> [SoakRow] {
        let progress = SoakProgress(every: period)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<concurrency {
                group.addTask {
                    while let index = progress.next(below: requestCount) {
                        if naps.contains(index) { try await nap() }
                        if let row = progress.count(try await outcome(index)) { report(row) }
                    }
                }
            }
            try await group.waitForAll()
        }
        return progress.rows
    }

    /// Where the model sleeps: early, since memory begins anew with it, and a leak must not hide in that.
    private var naps: Set<Int> { Set((1...4).map { $0 * max(1, requestCount / 40) }) }

    /// Sleeps for a moment. Requests under way go on afterwards, those that come meanwhile are refused.
    private func nap() async throws {
        try await pipeline.sleep()
        try await Task.sleep(for: .milliseconds(20))
        try await pipeline.wake()
    }

    /// Sends a request.
    ///
    /// - Returns: a name for how it ended.
    /// - Throws: an error that it should not have ended with.
    private func outcome(_ index: Int) async throws -> String {
        var draw = Draw(random: RandomSource(seed: RandomSource.seed(seed, of: index)))
        do {
            return try await send(&draw)
        } catch let error as EngineError where [.asleep, .deadlineExceeded, .busy].contains(error.kind) {
            return error.kind.rawValue
        }
    }

    private func send(_ draw: inout Draw) async throws -> String {
        let prompt = try prompt(&draw)
        var generation = GenerationConfig(
            maxNewTokens: draw.number(1...24), temperature: draw.happens(0.5) ? 0 : 1, topK: 0,
            randomSeed: UInt64(draw.number(0...1 << 30)), ignoreEOS: true)
        var options = RequestOptions(priority: draw.number(-1...1))
        switch draw.number(0...99) {
        case 0..<10:
            // Dropped after a few pieces, or before the first.
            var left = draw.number(0...4)
            guard left > 0 else {
                let task = Task { [generation, options] in
                    _ = try await pipeline(prompt, generation: generation, options: options)
                }
                await Task.yield()
                task.cancel()
                _ = await task.result
                return "cancelled"
            }
            for try await _ in pipeline.stream(prompt, generation: generation, options: options) {
                left -= 1
                if left == 0 { break }
            }
            return "cancelled"
        case 10..<15: return try await refused(&draw, generation)
        case 15..<20:
            let chat = pipeline.chat(generation: generation, options: options)
            _ = try await chat("First.", images: prompt.messages.flatMap(\.pictures))
            _ = try await chat("Second.")
            return "chat"
        case 20..<24:
            generation.n = 3
            _ = try await pipeline.responses(to: prompt, generation: generation, options: options)
            return "several"
        case 24..<27:
            options.timeout = .milliseconds(draw.number(1...40))
            _ = try await pipeline(prompt, generation: generation, options: options)
            return "in time"
        case 27..<30:
            generation.outputLogits = .generation
            generation.logprobs = 4
            _ = try await pipeline(prompt, generation: generation, options: options)
            return "logits"
        default:
            _ = try await pipeline(prompt, generation: generation, options: options)
            return "answered"
        }
    }

    /// Asks for what cannot be.
    private func refused(_ draw: inout Draw, _ generation: GenerationConfig) async throws -> String {
        var generation = generation
        var prompt = Prompt("Hello")
        switch draw.number(0...4) {
        case 0: prompt = Prompt("What is this?", images: [.path("/nowhere/\(draw.number(0...1 << 20)).png")])
        case 1:
            // A PNG's beginning and then noise.
            let noise = (0..<draw.number(10...4000)).map { _ in UInt8(draw.number(0...255)) }
            prompt = Prompt("What is this?", images: [.data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + noise)])
        case 2: prompt = Prompt(String(repeating: "too long ", count: 40_000))
        case 3: generation.temperature = -1
        default: prompt = Prompt("\(imageToken) and no picture")
        }
        do {
            _ = try await pipeline(prompt, generation: generation)
        } catch is ImageError {
            return "refused"
        } catch is PromptError {
            return "refused"
        } catch let error as EngineError where error.isBadInput {
            return "refused"
        }
        throw ValidationFailure()
    }

    /// A request that should have failed did not.
    private struct ValidationFailure: Error, CustomStringConvertible {
        var description: String { "a request that cannot be answered was answered" }
    }

    private func prompt(_ draw: inout Draw) throws -> Prompt {
        let text = "Question \(draw.number(0...1 << 40)): what is in the picture?"
        guard isVision else { return Prompt(text) }
        switch draw.number(0...9) {
        case 0: return Prompt(text)
        case 1: return Prompt(text, images: [try picture(&draw), try picture(&draw)])
        default: return Prompt(text, images: [try picture(&draw)])
        }
    }

    /// New noise of any size, or one of a few pictures that come again.
    private func picture(_ draw: inout Draw) throws -> ImageSource {
        if !images.isEmpty, draw.happens(0.2) { return ImageSource(images[draw.number(0...images.count - 1)]) }
        let isRepeated = draw.happens(0.25)
        let number = isRepeated ? draw.number(0...7) : draw.number(8...1 << 40)
        var size = Draw(random: RandomSource(seed: UInt64(number)))
        let dimensions = (width: size.number(16...400), height: size.number(16...400))
        return .image(try SyntheticRequests.picture(number, dimensions))
    }
}

/// How far the requests are.
private final class SoakProgress: Sendable {
    private struct State {
        var started = 0
        var finished = 0
        /// Since the last row.
        var outcomes: [String: Int] = [:]
        var rows: [SoakRow] = []
    }

    private let period: Int
    private let start = ContinuousClock.now
    private let state = Mutex(State())

    init(every period: Int) { self.period = period }

    var rows: [SoakRow] { state.withLock { $0.rows } }

    /// The next request that nobody took.
    func next(below count: Int) -> Int? {
        state.withLock { state in
            state.started += 1
            return state.started <= count ? state.started - 1 : nil
        }
    }

    /// - Returns: a row when it is time for one.
    func count(_ outcome: String) -> SoakRow? {
        state.withLock { state in
            state.finished += 1
            state.outcomes[outcome, default: 0] += 1
            guard state.finished % period == 0 else { return nil }
            let row = SoakRow(
                requestCount: state.finished, seconds: (ContinuousClock.now - start) / .seconds(1),
                residentBytes: HostMemory.residentBytes.now, outcomes: state.outcomes)
            state.outcomes.removeAll()
            state.rows.append(row)
            return row
        }
    }
}

/// Random choices, one after the other.
private struct Draw {
    let random: RandomSource
    private var step = 0

    init(random: RandomSource) { self.random = random }

    mutating func number(_ range: ClosedRange<Int>) -> Int {
        step += 1
        return range.lowerBound + Int(random.uniform(step: step) * Double(range.count))
    }

    mutating func happens(_ probability: Double) -> Bool {
        step += 1
        return random.uniform(step: step) < probability
    }
}

extension ChatMessage {
    fileprivate var pictures: [ImageSource] {
        content.compactMap { part in
            if case .image(let source) = part { source } else { nil }
        }
    }
}
