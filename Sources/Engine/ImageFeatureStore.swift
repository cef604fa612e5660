import Models
import Tensors

/// Features of one picture while passes to come read them. Letting go of the last reference gives them back.
final class HeldFeatures {
    /// `[tokens, D]`.
    let tensor: Tensor
    private let owner: any DeviceBuffer
    var byteCount: Int { owner.byteCount }
    private let end: () -> Void

    fileprivate init(_ features: ImageFeatures, end: @escaping () -> Void) {
        tensor = features.tensor
        owner = features.owner
        self.end = end
    }

    deinit { end() }
}

/// Finds or makes the features that prompts need.
///
/// A picture that was encoded before is found in the cache as long as it is there; two requests with the same picture encode it once. What the
/// cache has no room for belongs to the sequences that read it, up to what the memory plan sets aside; what fits neither waits for a later step.
final class ImageFeatureStore {
    /// An image of a sequence by its place in the request.
    typealias Item = (sequence: SequenceState, image: Int)

    let encoder: ImageEncoder
    private let cache: FeatureCache<ImageFeatures>
    /// Most bytes of features outside the cache, and those there are.
    private let ownedLimit: Int
    private var ownedBytes = 0

    /// Images that sequences needed, each counted once, and those of them that cost no encoding.
    private(set) var lookedUp = 0
    private(set) var hits = 0

    init(encoder: ImageEncoder, cacheBytes: Int, pictureBytes: Int, ownedBytes: Int) {
        self.encoder = encoder
        cache = FeatureCache(byteLimit: cacheBytes, pictureByteLimit: pictureBytes)
        ownedLimit = ownedBytes
    }

    /// Fills the `features` of `items`, in order, as far as this step allows.
    ///
    /// - Parameters:
    ///   - rowLimit: while others decode: no more than one pass of the encoder, and no more feature rows than this unless it is one image's.
    ///   - failed: called with each sequence whose image cannot be encoded; the others go on.
    func prepare(_ items: [Item], rowLimit: Int?, failed: (SequenceState, any Error) -> Void) {
        var missing: [Item] = []
        var alike: [Item] = []
        var pending: Set<InternedImage> = []
        var rows = 0
        var cacheLeft = cache.byteLimit - cache.pinnedByteCount
        var ownedLeft = ownedLimit - ownedBytes
        for item in items {
            let image = item.sequence.images[item.image]
            if let held = find(image) {
                give(held, to: item, isHit: true)
                // What is in use now cannot give way.
                cacheLeft = min(cacheLeft, cache.byteLimit - cache.pinnedByteCount)
                continue
            }
            if pending.contains(image) {
                alike.append(item)
                continue
            }
            let bytes = encoder.featureBytes(image.content)
            rows += image.content.tokenCount
            if let rowLimit, !missing.isEmpty, missing.count == encoder.maxBatchSize || rows > rowLimit { break }
            if bytes <= cacheLeft {
                cacheLeft -= bytes
            } else if bytes <= ownedLeft || (missing.isEmpty && ownedBytes == 0) {
                ownedLeft -= bytes
            } else {
                break
            }
            pending.insert(image)
            missing.append(item)
        }
        guard !missing.isEmpty else { return }
        encode(missing, alike, failed: failed)
    }

    private func encode(_ missing: [Item], _ alike: [Item], failed: (SequenceState, any Error) -> Void) {
        // Old features go before new ones take their memory.
        for item in missing { _ = cache.makeRoom(for: encoder.featureBytes(item.sequence.images[item.image].content)) }
        var made: [InternedImage: HeldFeatures] = [:]
        encoder.encode(missing) { item, features in
            let image = item.sequence.images[item.image]
            let held = keep(features, of: image)
            made[image] = held
            give(held, to: item, isHit: false)
        } failed: { item, error in
            failed(item.sequence, error)
        }
        for item in alike {
            if let held = made[item.sequence.images[item.image]] { give(held, to: item, isHit: true) }
        }
    }

    private func give(_ held: HeldFeatures, to item: Item, isHit: Bool) {
        item.sequence.features[item.image] = held
        if item.sequence.noteImage(item.image, isCached: isHit) { count(isHit: isHit) }
    }

    private func count(isHit: Bool) {
        lookedUp += 1
        if isHit { hits += 1 }
    }

    /// Counts the images of a new sequence that lie wholly in what the prefix cache gave it.
    func noteCachedImages(of sequence: SequenceState) {
        for image in sequence.imagesBefore(sequence.computed) where sequence.noteImage(image, isCached: true) {
            count(isHit: true)
        }
    }

    private func find(_ image: InternedImage) -> HeldFeatures? {
        cache.pin(image).map { features in HeldFeatures(features) { [cache] in cache.unpin(image) } }
    }

    private func keep(_ features: ImageFeatures, of image: InternedImage) -> HeldFeatures {
        let bytes = features.owner.byteCount
        if cache.insert(features, for: image, byteCount: bytes) {
            return HeldFeatures(features) { [cache] in cache.unpin(image) }
        }
        ownedBytes += bytes
        return HeldFeatures(features) { [weak self] in self?.ownedBytes -= bytes }
    }

    /// Drops what nobody uses, as after a device failed.
    func forget() { cache.removeIdle() }

    /// What is wrong with the books, for tests; empty when all is well.
    ///
    /// - Parameter users: every sequence that may hold features.
    func checkInvariants(users: [SequenceState]) -> [String] {
        var held: [ObjectIdentifier: Int] = [:]
        for features in users.flatMap(\.features).compactMap({ $0 }) { held[ObjectIdentifier(features)] = features.byteCount }
        let bytes = held.values.reduce(0, +)
        var wrong: [String] = []
        if cache.byteCount > cache.byteLimit {
            wrong.append("\(cache.byteCount) bytes of features in a cache of \(cache.byteLimit)")
        }
        if cache.pinnedByteCount + ownedBytes > bytes {
            wrong.append("\(cache.pinnedByteCount) + \(ownedBytes) bytes of features are in use, sequences hold \(bytes)")
        }
        return wrong
    }
}
