import Models

/// Features of pictures, bounded in bytes: the least recently used give way, those in use stay.
///
/// Whoever uses an entry pins it, and lets go of it as often. Generic over what is kept, so that its rules need no device to be tested.
package final class FeatureCache<Value> {
    private struct Entry {
        let image: InternedImage
        let value: Value
        let byteCount: Int
        var pins: Int
    }

    /// Most bytes of entries; 0 keeps none.
    package let byteLimit: Int
    /// Bytes of all entries, and of those in use.
    package private(set) var byteCount = 0
    package private(set) var pinnedByteCount = 0

    /// Most bytes of the host's memory that pictures of entries nobody uses may take, and those there are.
    private let pictureByteLimit: Int
    package private(set) var pictureByteCount = 0

    private var places: [InternedImage: Int32] = [:]
    private var entries: [Entry?] = []
    private var freePlaces: [Int32] = []
    /// Entries that nobody uses.
    private var idle = RecencyList(capacity: 0)

    package init(byteLimit: Int, pictureByteLimit: Int = .max) {
        self.byteLimit = byteLimit
        self.pictureByteLimit = pictureByteLimit
    }

    /// Pictures with an entry.
    package var count: Int { places.count }

    package func contains(_ image: InternedImage) -> Bool { places[image] != nil }

    /// The entry of `image`, in use from now on until ``unpin(_:)``; nil when there is none.
    package func pin(_ image: InternedImage) -> Value? {
        guard let place = places[image], var entry = entries[Int(place)] else { return nil }
        if entry.pins == 0 {
            idle.remove(place)
            pinnedByteCount += entry.byteCount
            pictureByteCount -= image.content.byteCount
        }
        entry.pins += 1
        entries[Int(place)] = entry
        return entry.value
    }

    /// Drops entries until `byteCount` more bytes fit. To be called before the memory is taken.
    ///
    /// - Returns: false, with nothing dropped, when they cannot fit beside those in use.
    package func makeRoom(for byteCount: Int) -> Bool {
        guard byteCount <= byteLimit - pinnedByteCount else { return false }
        while self.byteCount + byteCount > byteLimit { drop(idle.first) }
        return true
    }

    /// Adds an entry, in use from now on until ``unpin(_:)``.
    ///
    /// - Returns: false, with nothing changed, when it does not fit or when there is one for `image` already.
    package func insert(_ value: Value, for image: InternedImage, byteCount: Int) -> Bool {
        guard places[image] == nil, makeRoom(for: byteCount) else { return false }
        let place = freePlaces.popLast() ?? Int32(entries.count)
        if Int(place) == entries.count {
            entries.append(nil)
            idle.grow(to: entries.count)
        }
        entries[Int(place)] = Entry(image: image, value: value, byteCount: byteCount, pins: 1)
        places[image] = place
        self.byteCount += byteCount
        pinnedByteCount += byteCount
        return true
    }

    /// Lets go of an entry that was pinned.
    package func unpin(_ image: InternedImage) {
        guard let place = places[image], var entry = entries[Int(place)] else {
            preconditionFailure("only what is pinned is let go")
        }
        precondition(entry.pins > 0, "an entry is let go as often as it was pinned")
        entry.pins -= 1
        entries[Int(place)] = entry
        guard entry.pins == 0 else { return }
        pinnedByteCount -= entry.byteCount
        idle.append(place)
        pictureByteCount += image.content.byteCount
        while pictureByteCount > pictureByteLimit, idle.count > 0 { drop(idle.first) }
    }

    /// Drops every entry that nobody uses.
    package func removeIdle() {
        while idle.count > 0 { drop(idle.first) }
    }

    private func drop(_ place: Int32) {
        guard let entry = entries[Int(place)] else { preconditionFailure("idle places have entries") }
        idle.remove(place)
        entries[Int(place)] = nil
        places[entry.image] = nil
        freePlaces.append(place)
        byteCount -= entry.byteCount
        pictureByteCount -= entry.image.content.byteCount
    }
}
