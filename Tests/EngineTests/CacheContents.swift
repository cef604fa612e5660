import Engine
import Models
import TestKit

/// A sequence of text and pictures for tests of the caches.
struct CacheContent {
    var tokens: [Int32] = []
    var images: [ImageExtent] = []

    init(_ tokens: [Int32] = []) { self.tokens = tokens }

    /// Adds text.
    mutating func add(_ text: [Int32]) { tokens += text }

    /// Adds rows of a picture, whose token is always 0.
    mutating func add(_ image: InternedImage, rows: Range<Int>) {
        defer { tokens += Array(repeating: 0, count: rows.count) }
        // Rows that go on are one extent, as in prompts.
        if let last = images.last, last.image == image, last.start + last.count == tokens.count,
            last.featureRow + last.count == rows.lowerBound
        {
            images[images.count - 1] = ImageExtent(
                image: image, start: last.start, count: last.count + rows.count, featureRow: last.featureRow)
            return
        }
        images.append(ImageExtent(image: image, start: tokens.count, count: rows.count, featureRow: rows.lowerBound))
    }

    /// The first `count` positions.
    func prefix(_ count: Int) -> CacheContent {
        var prefix = CacheContent(Array(tokens.prefix(count)))
        prefix.images = images.filter { $0.start < count }.map {
            ImageExtent(image: $0.image, start: $0.start, count: min($0.count, count - $0.start), featureRow: $0.featureRow)
        }
        return prefix
    }

    static func + (a: CacheContent, b: CacheContent) -> CacheContent {
        var sum = CacheContent(a.tokens + b.tokens)
        sum.images =
            a.images
            + b.images.map {
                ImageExtent(image: $0.image, start: a.tokens.count + $0.start, count: $0.count, featureRow: $0.featureRow)
            }
        return sum
    }

    static func picture(_ pixels: [Float]) -> ProcessedImage {
        ProcessedImage(pixels: pixels, dimensions: [pixels.count], tokenCount: pixels.count)
    }
}

/// A sequence that runs over a ``BlockCache``.
struct CacheUser {
    var content: CacheContent
    var held: SequenceBlocks
    var computed = 0

    init(_ content: CacheContent) {
        self.content = content
        held = SequenceBlocks(images: content.images)
    }

    init(_ tokens: [Int32]) { self.init(CacheContent(tokens)) }

    /// - Returns: tokens that came from the cache; nil when there is no room.
    mutating func admit(_ cache: BlockCache, limit: Int? = nil, reserve: Int = 0) -> Int? {
        guard let count = cache.admit(&held, tokens: content.tokens, limit: limit ?? content.tokens.count - 1, reserve: reserve)
        else { return nil }
        computed = count
        return count
    }

    mutating func compute(_ cache: BlockCache, to end: Int? = nil) {
        computed = end ?? content.tokens.count
        cache.publish(&held, tokens: content.tokens, computed: computed)
    }

    mutating func release(_ cache: BlockCache) {
        cache.release(&held, tokens: content.tokens, computed: computed)
        computed = 0
    }

    /// Comes, computes everything and goes.
    static func run(_ cache: BlockCache, _ content: CacheContent) -> Int? {
        var user = CacheUser(content)
        guard let count = user.admit(cache) else { return nil }
        user.compute(cache)
        user.release(cache)
        return count
    }
}
