package import Models

/// How the prompt's hidden states, after the final norm, become one vector.
public enum Pooling: String, Sendable, CaseIterable {
    /// Their mean over all positions.
    case mean
    /// The last position's.
    case last
}

/// One prompt, ready for the engine: tokens with image placeholders expanded, and the processed images in the order of their tokens.
package struct EngineRequest: Sendable {
    /// What ``priority`` may be.
    package static let priorities = -1000...1000

    package var tokenIDs: [Int32]
    package var images: [ProcessedImage]
    /// The images as an ``ImageInterner`` knows them, once ``intern(by:)`` was called.
    private var interned: [InternedImage] = []
    package var generation: GenerationConfig
    /// Place of the prompt in its batch, repeated in the response.
    package var index: Int
    /// Whether ``Response/pooledHiddenState`` is wanted, and which.
    package var pooling: Pooling?
    /// What the response may be, beside ``GenerationConfig``'s bans.
    package var guide: (any TokenGuide)?
    /// Higher goes first, and gives way last when the cache is full.
    package var priority: Int
    /// When the request ends, finished or not.
    package var deadline: ContinuousClock.Instant?

    package init(
        tokenIDs: [Int32], images: [ProcessedImage] = [], generation: GenerationConfig = .init(), index: Int = 0,
        pooling: Pooling? = nil, guide: (any TokenGuide)? = nil, priority: Int = 0, deadline: ContinuousClock.Instant? = nil
    ) {
        self.tokenIDs = tokenIDs
        self.images = images
        self.generation = generation
        self.index = index
        self.pooling = pooling
        self.guide = guide
        self.priority = priority
        self.deadline = deadline
    }

    /// A prompt whose pictures went through an ``ImageInterner`` already, which one engine's requests share.
    package init(tokenIDs: [Int32], images: [InternedImage], generation: GenerationConfig, index: Int = 0) {
        self.init(tokenIDs: tokenIDs, images: images.map(\.content), generation: generation, index: index)
        interned = images
    }

    /// Makes equal pictures of requests one object, which is what lets the engine's caches find them. Takes about as long as reading
    /// the pixels once, so it belongs before the engine.
    package mutating func intern(by interner: ImageInterner) {
        guard interned.count != images.count else { return }
        interned = images.map(interner.intern)
        // Equal pictures need their memory once.
        images = interned.map(\.content)
    }

    /// The images for the engine's caches; without ``intern(by:)`` no two are equal.
    var internedImages: [InternedImage] {
        interned.count == images.count ? interned : images.map(InternedImage.init(unique:))
    }
}
