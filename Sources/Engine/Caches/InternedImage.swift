package import Models

/// A processed picture that is equal to another only if it is the same object: an ``ImageInterner`` gives equal pixels and parameters one
/// object, so that caches need compare no pixels.
package final class InternedImage: Sendable, Hashable {
    package let content: ProcessedImage
    package let hash: ContentHash

    init(_ content: ProcessedImage, hash: ContentHash) {
        self.content = content
        self.hash = hash
    }

    /// A picture that no other is equal to, where nothing is cached.
    package convenience init(unique content: ProcessedImage) {
        self.init(content, hash: ContentHash(low: 0, high: 0))
    }

    package static func == (a: InternedImage, b: InternedImage) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
