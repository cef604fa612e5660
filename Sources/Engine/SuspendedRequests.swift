/// Requests of an engine that sleeps: on the host alone, with the tokens they have so far.
package struct SuspendedRequests {
    private(set) var sequences: [SequenceState]
    let nextID: Int

    init(sequences: [SequenceState], nextID: Int) {
        self.sequences = sequences
        self.nextID = nextID
    }

    package var count: Int { sequences.count }

    mutating func cancel(_ id: Int) {
        guard let index = sequences.firstIndex(where: { $0.id == id }) else { return }
        sequences.remove(at: index).finish(.abort, error: EngineError.cancelled)
    }

    func failAll(_ error: any Error) {
        for sequence in sequences { sequence.finish(.error, error: error) }
    }
}
