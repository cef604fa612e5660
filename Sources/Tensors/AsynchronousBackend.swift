/// A backend whose host side runs ahead of its device: work is recorded once and replayed, tokens are chosen without the host.
///
/// With it the engine launches a step before it has seen the tokens of the step before, so the device never waits for the host.
package protocol AsynchronousBackend: Backend {
    /// Whether work should be recorded: not while somebody looks at each piece.
    var recordsWork: Bool { get }
    /// Where the device's time went, in lines, when the backend was made to measure that.
    var timeReport: String? { get }
    /// Memory on the device: first the total, then by purpose, the largest first.
    var memoryUses: [MemoryUse] { get }
    /// Records what `body` submits instead of running it. `body` must not allocate, download or synchronize.
    ///
    /// Every operand keeps its address and every launch its shape, so a replay repeats the pass with whatever the operands hold by then.
    func record(_ body: () throws -> Void) throws -> any RecordedWork
    /// Submits recorded work.
    func replay(_ work: any RecordedWork) throws
    /// A point in the stream that the host can wait for.
    func mark() throws -> any StreamMark
    /// Room to choose tokens for `lanes` sequences over a vocabulary of V.
    func makeSampler(lanes: Int, vocabularySize: Int) throws -> any DeviceSampler
}

extension AsynchronousBackend {
    package var recordsWork: Bool { true }
    package var timeReport: String? { nil }
    package var memoryUses: [MemoryUse] { [] }
}

/// Work that was recorded by ``AsynchronousBackend/record(_:)``.
package protocol RecordedWork: AnyObject {}

/// A place in a stream.
package protocol StreamMark: AnyObject {
    /// Waits until everything submitted before the mark has run.
    ///
    /// - Throws: ``TensorError`` when the device failed on the way.
    func wait() throws
    /// Seconds of device time between an earlier mark and this one; waits for this one.
    func seconds(since earlier: any StreamMark) throws -> Double
}

/// Chooses tokens on the device. Each running sequence owns a lane, in which its newest token stays for the next step to read.
package protocol DeviceSampler: AnyObject {
    /// `[lanes]` int32: the newest token of each lane; see ``Backend/gatherRows(_:indices:lanes:into:)``.
    var newest: Tensor { get }
    /// `[lanes, ⌈V / 32⌉]` int32: which tokens a row may choose, see ``SamplingRow/mask``. The engine uploads them before it samples.
    var masks: Tensor { get }
    /// Forgets a lane's history and marks `tokens` as seen by it, for the repetition penalty. Only lanes whose requests have a penalty need it.
    ///
    /// - Parameter counted: tokens to count, for presence and frequency penalty; nil for lanes whose requests have none of those.
    func begin(lane: Int, tokens: [Int32], counted: ArraySlice<Int32>?) throws
    /// Where the host finds chosen tokens: ``SamplingRow/result`` says at which place. Written by the device, valid after a mark.
    var results: UnsafePointer<Int32> { get }
    /// Places in ``results``: at least four times the lanes.
    var resultCount: Int { get }
    /// Chooses one token per row of `logits` `[n, V]` float32, which it may change.
    ///
    /// Each goes to its row's lane in ``newest``, counts as seen there, and is written to its place in ``results``. A row whose logits
    /// have no finite maximum gives -1.
    ///
    /// - Parameters:
    ///   - rows: `[n, SamplingRow.words]` int32 on the device: ``SamplingRow``s.
    ///   - kind: the most any row asks for; fixed when the call is recorded.
    func sample(_ logits: Tensor, rows: Tensor, kind: SamplingKind) throws
}

/// What choosing has to be able to do; each can do what those before it can.
package enum SamplingKind: Int, Sendable, Hashable, Comparable {
    /// The likeliest token, no penalty, no mask.
    case greedy
    /// Masks, repetition penalty, temperature, top-k, top-p, min-p.
    case full
    /// Presence and frequency penalties too, for which the device counts each lane's tokens.
    case counted

    package static func < (a: SamplingKind, b: SamplingKind) -> Bool { a.rawValue < b.rawValue }
}

/// How one row of logits becomes a token, as ``words`` words on the device.
package struct SamplingRow: Sendable, Equatable {
    package static let words = 16

    /// Where the token goes; negative: nowhere (a padding row).
    package var lane: Int32
    /// 0 takes the likeliest.
    package var temperature: Float = 0
    /// 0 keeps all.
    package var topK: Int32 = 0
    package var topP: Float = 1
    package var minP: Float = 0
    package var repetitionPenalty: Float = 1
    package var seed: UInt64 = 0
    /// Which of the request's random numbers, its generated token's number.
    package var step: Int32 = 0
    /// The place in ``DeviceSampler/results``. It is data, so a recorded call writes to another place in each replay.
    package var result: Int32
    package var presencePenalty: Float = 0
    package var frequencyPenalty: Float = 0
    /// Row of ``DeviceSampler/masks`` (bit i of word w set: token 32 w + i may be chosen); negative: every token may.
    package var mask: Int32 = -1

    package init(lane: Int32, result: Int32) {
        self.lane = lane
        self.result = result
    }

    /// A row that chooses nothing.
    package static let padding = SamplingRow(lane: -1, result: -1)

    package var kind: SamplingKind {
        if presencePenalty != 0 || frequencyPenalty != 0 { return .counted }
        return temperature > 0 || repetitionPenalty != 1 || mask >= 0 ? .full : .greedy
    }

    /// The words as a kernel reads them: lane, temperature, topK, topP, minP, repetitionPenalty, seed (low, high), step, result,
    /// presencePenalty, frequencyPenalty, mask, three unused.
    package func append(to words: inout [Int32]) {
        words.append(lane)
        words.append(Int32(bitPattern: temperature.bitPattern))
        words.append(topK)
        words.append(Int32(bitPattern: topP.bitPattern))
        words.append(Int32(bitPattern: minP.bitPattern))
        words.append(Int32(bitPattern: repetitionPenalty.bitPattern))
        words.append(Int32(truncatingIfNeeded: seed))
        words.append(Int32(truncatingIfNeeded: seed >> 32))
        words.append(step)
        words.append(result)
        words.append(Int32(bitPattern: presencePenalty.bitPattern))
        words.append(Int32(bitPattern: frequencyPenalty.bitPattern))
        words.append(mask)
        for _ in 0..<3 { words.append(0) }
    }
}
