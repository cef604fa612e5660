/// Requests that wait for a place in the batch: higher priorities first, first come first served within one.
///
/// A request is ordered by a number that never changes: its arrival, moved forward by ``ageing`` places for each step of priority. So a request
/// is overtaken by at most that many later arrivals for each step of priority above its own, and nobody starves. A preempted request
/// keeps its number, which puts it before everyone of its priority that came after it.
struct WaitingQueue {
    /// Later arrivals that one step of priority overtakes.
    static let ageing = 256

    /// The next one last, so that taking it moves nobody.
    private var sequences: [SequenceState] = []

    var count: Int { sequences.count }
    var isEmpty: Bool { sequences.isEmpty }
    var first: SequenceState? { sequences.last }

    /// Those that wait, the next one first.
    var all: [SequenceState] { sequences.reversed() }

    mutating func insert(_ sequence: SequenceState) { sequences.insert(sequence, at: place(of: sequence)) }

    mutating func removeFirst() -> SequenceState { sequences.removeLast() }

    /// Takes a sequence out, if it waits.
    mutating func remove(_ sequence: SequenceState) {
        let index = place(of: sequence)
        if index < sequences.count, sequences[index] === sequence { sequences.remove(at: index) }
    }

    mutating func removeAll() -> [SequenceState] {
        defer { sequences.removeAll() }
        return all
    }

    /// The first place whose sequence does not go after `sequence`.
    private func place(of sequence: SequenceState) -> Int {
        var (low, high) = (0, sequences.count)
        while low < high {
            let middle = (low + high) / 2
            if sequence.goesBefore(sequences[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension SequenceState {
    /// The order of waiting, of prefilling and, backwards, of nothing else: arrival moved forward by priority.
    func goesBefore(_ other: SequenceState) -> Bool { (turn, id) < (other.turn, other.id) }
}
