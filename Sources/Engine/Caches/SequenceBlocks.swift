/// Consecutive positions of a sequence that show consecutive feature rows of one picture.
package struct ImageExtent {
    package let image: InternedImage
    package let start: Int
    package let count: Int
    package let featureRow: Int

    package init(image: InternedImage, start: Int, count: Int, featureRow: Int) {
        self.image = image
        self.start = start
        self.count = count
        self.featureRow = featureRow
    }

    var end: Int { start + count }
}

/// A sequence's place in the KV cache: the blocks it holds, and what is needed to find them by their content.
///
/// The content of a position is its token, or the picture and feature row it shows, and that of all positions before; rotary positions
/// follow from it, and what is seen of the rest of a picture, which is the same wherever the picture is. ``BlockCache`` changes it; tokens stay where the sequence keeps them, and only ever grow.
package struct SequenceBlocks {
    /// Blocks by position, ``BlockCache/blockSize`` positions each.
    package internal(set) var blocks: [Int32] = []
    /// Leading blocks that others can find.
    var publishedCount = 0
    /// What ``BlockCache`` had forgotten when the sequence was admitted.
    var generation = 0
    /// Hashes of the content up to the end of each block, as far as they were needed.
    private(set) var keys: [UInt64] = []
    private let images: [ImageExtent]
    /// Whether blocks may be found by others and come from others. Not where positions of a prompt see all that stands behind them: then equal
    /// beginnings do not make equal blocks.
    let isShared: Bool

    /// - Parameters:
    ///   - images: in the order of their positions, each as long as it can be; they do not overlap.
    ///   - isShared: see ``isShared``.
    package init(images: [ImageExtent] = [], isShared: Bool = true) {
        self.images = images
        self.isShared = isShared
    }

    /// The runs of a prompt and the pictures they show.
    init(images: [InternedImage], runs: [ImageRun], isShared: Bool) {
        let extents = runs.map {
            ImageExtent(image: images[$0.image], start: $0.start, count: $0.count, featureRow: $0.featureRow)
        }
        self.init(images: extents, isShared: isShared)
    }

    // MARK: Hashes

    /// The hash of no content.
    static let emptyKey: UInt64 = ContentHash.odd.0

    /// The hash of the content before block `index`.
    mutating func key(before index: Int, tokens: UnsafeBufferPointer<Int32>, blockSize: Int) -> UInt64 {
        while keys.count < index {
            var key = KeyBuilder(self, block: keys.count, blockSize: blockSize)
            for _ in 0..<blockSize { key.add(tokens) }
            keys.append(key.key)
        }
        return index == 0 ? Self.emptyKey : keys[index - 1]
    }

    /// Hashes a block position by position.
    struct KeyBuilder {
        private(set) var key: UInt64
        private var position: Int
        private var images: ArraySlice<ImageExtent>
        /// The extent that is next or under way, without its picture, which need not be counted for each position.
        private var extent = 0..<0
        private var firstRow = 0
        private var imageKey: UInt64 = 0

        /// Begins at a block whose predecessors' keys are known.
        init(_ sequence: SequenceBlocks, block: Int, blockSize: Int) {
            key = block == 0 ? SequenceBlocks.emptyKey : sequence.keys[block - 1]
            position = block * blockSize
            images = sequence.images(from: position)
            nextImage()
        }

        private mutating func nextImage() {
            guard let image = images.popFirst() else { return extent = Int.max..<Int.max }
            extent = image.start..<image.end
            firstRow = image.featureRow
            imageKey = image.image.hash.low
        }

        mutating func add(_ tokens: UnsafeBufferPointer<Int32>) {
            if position >= extent.lowerBound {
                let row = firstRow + position - extent.lowerBound
                key = ContentHash.fold(key ^ imageKey, ContentHash.odd.2 ^ UInt64(row))
                if position + 1 == extent.upperBound { nextImage() }
            }
            key = ContentHash.fold(key ^ UInt64(UInt32(bitPattern: tokens[position])), ContentHash.odd.1)
            position += 1
        }
    }

    // MARK: Pictures

    /// Extents that end after `position`.
    private func images(from position: Int) -> ArraySlice<ImageExtent> {
        var low = 0
        var high = images.count
        while low < high {
            let middle = (low + high) / 2
            if images[middle].end <= position { low = middle + 1 } else { high = middle }
        }
        return images[low...]
    }

    /// What the positions of `range` show.
    func views(in range: Range<Int>) -> [ImageView] {
        var views: [ImageView] = []
        for extent in images(from: range.lowerBound) {
            guard extent.start < range.upperBound else { break }
            views.append(ImageView(extent, in: range))
        }
        return views
    }

    /// Whether the positions of `range` show exactly `views`.
    func shows(_ views: [ImageView], in range: Range<Int>) -> Bool {
        var next = 0
        for extent in images(from: range.lowerBound) {
            guard extent.start < range.upperBound else { break }
            guard next < views.count, views[next] == ImageView(extent, in: range) else { return false }
            next += 1
        }
        return next == views.count
    }
}

/// The part of a picture that positions of a block show.
struct ImageView: Equatable {
    let image: InternedImage
    /// The first position, counted in the block.
    let offset: Int32
    let count: Int32
    let featureRow: Int32

    init(_ extent: ImageExtent, in range: Range<Int>) {
        let start = max(extent.start, range.lowerBound)
        image = extent.image
        offset = Int32(start - range.lowerBound)
        count = Int32(min(extent.end, range.upperBound) - start)
        featureRow = Int32(extent.featureRow + start - extent.start)
    }
}
