package import Models
import Synchronization

/// Finds the picture that was there before: gives equal processed pictures one ``InternedImage``.
///
/// Pictures are held weakly; each lives as long as a request, a cache or a chat session refers to it. Safe to use from any thread, and hashing
/// and comparing hold no lock: they belong in the preparation of a request, not where the engine runs.
package final class ImageInterner: Sendable {
    private struct Weak {
        weak var image: InternedImage?
    }

    private struct State {
        var table: [ContentHash: [Weak]] = [:]
        /// Pictures added since the table was last swept, and those that were left then.
        var added = 0
        var kept = 0
    }

    private let state = Mutex(State())
    private let hash: @Sendable (ProcessedImage) -> ContentHash

    /// - Parameter hash: what pictures are looked up by; tests make it collide.
    package init(hash: @escaping @Sendable (ProcessedImage) -> ContentHash = { $0.contentHash }) {
        self.hash = hash
    }

    /// The one object for this content.
    package func intern(_ content: ProcessedImage) -> InternedImage {
        let hash = hash(content)
        var compared: [InternedImage] = []
        while true {
            let candidates = lookUp(hash, except: compared)
            if let found = candidates.first(where: { $0.content.isIdentical(to: content) }) { return found }
            compared += candidates
            let image = InternedImage(content, hash: hash)
            if insert(image, knowing: compared) { return image }
            // Somebody added another one meanwhile.
        }
    }

    /// Pictures that live.
    package var count: Int { state.withLock { $0.table.values.reduce(0) { $0 + $1.filter { $0.image != nil }.count } } }

    /// Places in the table, those of pictures that are gone included.
    package var tableCount: Int { state.withLock { $0.table.values.reduce(0) { $0 + $1.count } } }

    private func lookUp(_ hash: ContentHash, except known: [InternedImage]) -> [InternedImage] {
        state.withLock { state in
            (state.table[hash] ?? []).compactMap { $0.image }.filter { image in !known.contains { $0 === image } }
        }
    }

    /// - Returns: false, with nothing added, when there are pictures of this hash beside those the caller knows.
    private func insert(_ image: InternedImage, knowing known: [InternedImage]) -> Bool {
        state.withLock { state in
            var alike = state.table[image.hash] ?? []
            alike.removeAll { $0.image == nil }
            guard alike.allSatisfy({ weak in known.contains { $0 === weak.image } }) else { return false }
            alike.append(Weak(image: image))
            state.table[image.hash] = alike
            state.added += 1
            // Sweeping when as many came as stayed costs each picture a constant.
            if state.added > 32 + state.kept { Self.sweep(&state) }
            return true
        }
    }

    private static func sweep(_ state: inout State) {
        state.kept = 0
        state.added = 0
        for (hash, alike) in state.table {
            let living = alike.filter { $0.image != nil }
            state.table[hash] = living.isEmpty ? nil : living
            state.kept += living.count
        }
    }
}
