package import Tensors

/// Repeats passes whose operands are the same memory each time, on backends that can, without the host's part of them.
///
/// A small pass keeps a GPU busy for less time than its launches cost the host; a replay is one launch.
package final class RecordedPasses {
    /// What tells passes apart: everything that launches depend on, and where their memory lies.
    private struct Key: Hashable {
        let shape: [Int]
        let place: UnsafeMutableRawPointer
    }

    private var passes: [Key: (any RecordedWork)?] = [:]

    /// Recordings cost memory on the device, so unusual shapes are not recorded once there are this many.
    private static let limit = 16

    package init() {}

    /// Runs `body`, or what it submitted when it last ran.
    ///
    /// The first time it runs for real, as what a backend does at the first use of a kernel cannot be recorded; the second time it is
    /// recorded.
    ///
    /// - Parameters:
    ///   - shape: passes of equal shapes submit equal work over equal memory.
    ///   - place: memory that the places of all operands follow from.
    ///   - body: must not allocate (but from a workspace), upload, download or synchronize.
    package func run(
        shape: [Int], place: Tensor, on backend: any Backend, _ body: () throws -> Void
    ) throws {
        guard let backend = backend as? any AsynchronousBackend, backend.recordsWork else { return try body() }
        let key = Key(shape: shape, place: place.pointer)
        switch passes[key] {
        case .some(.some(let work)):
            try backend.replay(work)
        case .some(.none):
            let work = try backend.record(body)
            passes[key] = .some(work)
            try backend.replay(work)
        case .none:
            if passes.count < RecordedPasses.limit { passes[key] = .some(nil) }
            try body()
        }
    }
}
