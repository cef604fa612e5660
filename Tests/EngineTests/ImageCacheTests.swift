import Engine
import Foundation
import Imaging
import Models
import TestKit
import Testing

@Suite struct ImageInternerTests {
    private func picture(_ pixels: [Float], grid: [Int] = []) -> ProcessedImage {
        ProcessedImage(pixels: pixels, dimensions: [pixels.count], grid: grid, tokenCount: pixels.count)
    }

    private func pictures(_ pixels: [UInt8], resizes: Bool = false, mean: Float = 0.5) throws -> ProcessedImage {
        let image = try RGBImage(width: 4, height: pixels.count / 12, pixels: pixels)
        let normalization = Normalization(mean: [mean, 0.5, 0.5], std: [0.5, 0.5, 0.5])
        var options = ImageOptions()
        options.leavesResizing = resizes
        return ProcessedImage(
            .pictures(
                CutPictures(
                    image, targets: [ResizeTarget(width: 8, height: 8)], filter: .bicubic, arithmetic: .pillow, normalization,
                    .tiles(width: 8, height: 8), options: options)), dimensions: [1, 3, 8, 8], tokenCount: 1)
    }

    @Test func equalPicturesAreOne() throws {
        let interner = ImageInterner()
        let first = interner.intern(picture([1, 2, 3]))
        #expect(interner.intern(picture([1, 2, 3])) === first)
        #expect(interner.intern(picture([1, 2, 3.000001])) !== first)
        #expect(interner.intern(picture([1, 2, 3], grid: [1, 1, 3])) !== first)
        #expect(first.content == picture([1, 2, 3]))
    }

    /// Pictures of different sizes can fill their canvas with the same bytes, of which other rows are taken.
    @Test func layoutsTellPicturesApart() {
        func picture(_ rows: Range<Int>) -> ProcessedImage {
            var layout = FeatureLayout()
            layout.append(rows)
            return ProcessedImage(.pixels([1, 2, 3, 4]), dimensions: [1, 4], tokenCount: 2, layout: layout)
        }
        let interner = ImageInterner { _ in ContentHash(low: 0, high: 0) }
        let first = interner.intern(picture(0..<2))
        #expect(interner.intern(picture(0..<2)) === first)
        #expect(interner.intern(picture(1..<3)) !== first)
        #expect(picture(0..<2).contentHash != picture(1..<3).contentHash)
    }

    @Test(arguments: [false, true]) func everyByteAndParameterCounts(resizes: Bool) throws {
        // With equal hashes for all, so that comparing is what tells them apart.
        for interner in [ImageInterner(), ImageInterner { _ in ContentHash(low: 0, high: 0) }] {
            let pixels = (0..<48).map { UInt8($0) }
            let first = interner.intern(try pictures(pixels, resizes: resizes))
            #expect(interner.intern(try pictures(pixels, resizes: resizes)) === first)
            #expect(interner.intern(try pictures(pixels, resizes: resizes, mean: 0.25)) !== first)
            #expect(interner.intern(try pictures(pixels, resizes: !resizes)) !== first)
            // One bit of one byte; resizing here first may round a small change away.
            for index in pixels.indices {
                var changed = pixels
                changed[index] ^= resizes ? 1 : 128
                #expect(interner.intern(try pictures(changed, resizes: resizes)) !== first, "byte \(index)")
            }
        }
    }

    @Test func bitsCountAndNotValues() throws {
        let interner = ImageInterner { _ in ContentHash(low: 0, high: 0) }
        let nan = interner.intern(picture([.nan]))
        #expect(interner.intern(picture([.nan])) === nan)
        #expect(interner.intern(picture([0])) !== interner.intern(picture([-0.0])))
    }

    @Test func picturesLiveAsLongAsSomebodyHoldsThem() throws {
        let interner = ImageInterner()
        var held: [InternedImage] = []
        for value in 0..<1000 {
            let image = interner.intern(picture([Float(value)]))
            if value % 100 == 0 { held.append(image) }
        }
        #expect(interner.count == 10)
        #expect(interner.tableCount < 100)
        for image in held { #expect(interner.intern(picture(image.content.pixels)) === image) }
        held.removeAll()
        #expect(interner.count == 0)
    }

    @Test func threadsAgree() async throws {
        for hash in [{ $0.contentHash }, { _ in ContentHash(low: 0, high: 0) }] as [@Sendable (ProcessedImage) -> ContentHash] {
            let interner = ImageInterner(hash: hash)
            let images = await withTaskGroup(of: [InternedImage].self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        (0..<200).map {
                            interner.intern(ProcessedImage(pixels: [Float($0 % 20)], dimensions: [1], tokenCount: 1))
                        }
                    }
                }
                var all: [[InternedImage]] = []
                for await images in group { all.append(images) }
                return all
            }
            for other in images {
                #expect(zip(other, images[0]).allSatisfy { $0 === $1 })
                #expect(Set(other).count == 20)
            }
        }
    }

    // MARK: Hashes

    @Test func hashesTellBytesAndLengthsApart() throws {
        var seen: Set<ContentHash> = []
        var halves: Set<UInt64> = []
        var count = 0
        func add(_ bytes: [UInt8]) {
            let hash = bytes.withUnsafeBytes { ContentHash($0) }
            seen.insert(hash)
            halves.insert(hash.low)
            halves.insert(hash.high)
            count += 1
        }
        for length in 0..<200 {
            add([UInt8](repeating: 0, count: length))
            for bit in 0..<length * 8 {
                var bytes = [UInt8](repeating: 0, count: length)
                bytes[bit / 8] = 1 << UInt8(bit % 8)
                add(bytes)
            }
        }
        #expect(seen.count == count)
        #expect(halves.count == 2 * count)
    }

    @Test func everyBitOfAHashDependsOnEveryByte() throws {
        var random = SeededGenerator(seed: 5)
        let bytes = (0..<203).map { _ in UInt8.random(in: 0...255, using: &random) }
        let hash = bytes.withUnsafeBytes { ContentHash($0) }
        var flips = [Int](repeating: 0, count: 128)
        for bit in 0..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            let other = changed.withUnsafeBytes { ContentHash($0) }
            for index in 0..<64 {
                flips[index] += Int((hash.low ^ other.low) >> UInt64(index) & 1)
                flips[64 + index] += Int((hash.high ^ other.high) >> UInt64(index) & 1)
            }
        }
        // A fair coin lands within six standard deviations.
        let trials = Double(bytes.count * 8)
        for flips in flips { #expect(abs(Double(flips) - trials / 2) < 3 * trials.squareRoot()) }
    }

    @Test func hashingIsFast() throws {
        let bytes = [UInt8](repeating: 7, count: 64 << 20)
        var best = Double.infinity
        for _ in 0..<5 {
            let start = ContinuousClock.now
            let hash = bytes.withUnsafeBytes { ContentHash($0) }
            best = min(best, (ContinuousClock.now - start) / .seconds(1))
            #expect(hash.low != 0)
        }
        let rate = Double(bytes.count) / best / 1e9
        // Far below what was measured, so that a busy machine does not fail it; a loop byte by byte would.
        #expect(rate > 2)
    }
}

@Suite struct FeatureCacheTests {
    /// Tells when it is gone.
    private final class Value {
        let name: Int
        init(_ name: Int) { self.name = name }
    }

    private let images: [InternedImage] = (0..<6).map {
        InternedImage(unique: ProcessedImage(pixels: [Float($0)], dimensions: [1], tokenCount: 1))
    }

    @Test func whatIsThereIsFound() throws {
        let cache = FeatureCache<Value>(byteLimit: 100)
        #expect(cache.pin(images[0]) == nil)
        #expect(cache.insert(Value(0), for: images[0], byteCount: 40))
        #expect(cache.pin(images[0])?.name == 0)
        #expect(cache.pin(images[1]) == nil)
        #expect(!cache.insert(Value(9), for: images[0], byteCount: 1))
        #expect(cache.byteCount == 40 && cache.pinnedByteCount == 40)
        cache.unpin(images[0])
        #expect(cache.pinnedByteCount == 40)
        cache.unpin(images[0])
        #expect(cache.pinnedByteCount == 0 && cache.byteCount == 40 && cache.count == 1)
    }

    /// Pictures of 4 bytes, three of which may be kept for their features' sake.
    @Test func picturesThatNobodyUsesAreBounded() throws {
        let cache = FeatureCache<Value>(byteLimit: 1000, pictureByteLimit: 12)
        for index in 0..<5 { #expect(cache.insert(Value(index), for: images[index], byteCount: 1)) }
        // Those in use do not count.
        #expect(cache.count == 5 && cache.pictureByteCount == 0)
        for index in 0..<5 { cache.unpin(images[index]) }
        #expect(cache.count == 3 && cache.pictureByteCount == 12)
        #expect(cache.pin(images[1]) == nil)
        #expect(cache.pin(images[2])?.name == 2)
        #expect(cache.pictureByteCount == 8)
        cache.unpin(images[2])
        cache.removeIdle()
        #expect(cache.pictureByteCount == 0 && cache.count == 0)
    }

    @Test func theLeastRecentlyUsedGivesWay() throws {
        let cache = FeatureCache<Value>(byteLimit: 100)
        for index in 0..<3 {
            #expect(cache.insert(Value(index), for: images[index], byteCount: 30))
            cache.unpin(images[index])
        }
        #expect(cache.pin(images[0])?.name == 0)
        cache.unpin(images[0])
        #expect(cache.insert(Value(3), for: images[3], byteCount: 30))
        #expect(cache.contains(images[0]) && !cache.contains(images[1]) && cache.contains(images[2]))
        #expect(cache.byteCount == 90)
    }

    @Test func whatIsInUseStays() throws {
        let cache = FeatureCache<Value>(byteLimit: 100)
        #expect(cache.insert(Value(0), for: images[0], byteCount: 60))
        #expect(cache.insert(Value(1), for: images[1], byteCount: 40))
        cache.unpin(images[1])
        #expect(!cache.makeRoom(for: 41))
        #expect(cache.contains(images[1]))
        #expect(cache.makeRoom(for: 40))
        #expect(cache.contains(images[0]) && !cache.contains(images[1]))
        #expect(!cache.insert(Value(2), for: images[2], byteCount: 50))
        cache.unpin(images[0])
        #expect(cache.insert(Value(2), for: images[2], byteCount: 50))
        #expect(cache.count == 1)
    }

    @Test func whatGivesWayIsFreed() throws {
        let cache = FeatureCache<Value>(byteLimit: 10)
        var value: Value? = Value(0)
        weak let memory = value
        #expect(cache.insert(try #require(value), for: images[0], byteCount: 10))
        value = nil
        cache.unpin(images[0])
        #expect(memory != nil)
        #expect(cache.makeRoom(for: 1))
        #expect(memory == nil)
        cache.removeIdle()
        #expect(cache.byteCount == 0)
    }

    @Test func aCacheOfNoBytesKeepsNothing() throws {
        let cache = FeatureCache<Value>(byteLimit: 0)
        #expect(!cache.makeRoom(for: 1))
        #expect(!cache.insert(Value(0), for: images[0], byteCount: 8))
        #expect(cache.pin(images[0]) == nil && cache.count == 0)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func randomUseKeepsTheBooks(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let cache = FeatureCache<Value>(byteLimit: 120)
        let sizes = images.indices.map { 10 + 17 * $0 }
        var pins = [Int](repeating: 0, count: images.count)
        // Entries by recency of their last letting go, as a list.
        var order: [Int] = []
        for _ in 0..<20_000 {
            let index = Int.random(in: images.indices, using: &random)
            if pins[index] > 0, Bool.random(using: &random) {
                cache.unpin(images[index])
                pins[index] -= 1
                if pins[index] == 0 { order.append(index) }
            } else if let value = cache.pin(images[index]) {
                #expect(value.name == index)
                #expect(pins[index] > 0 || order.contains(index))
                order.removeAll { $0 == index }
                pins[index] += 1
            } else {
                #expect(pins[index] == 0 && !order.contains(index))
                let pinned = images.indices.reduce(0) { $0 + (pins[$1] > 0 ? sizes[$1] : 0) }
                let fits = pinned + sizes[index] <= 120
                #expect(cache.insert(Value(index), for: images[index], byteCount: sizes[index]) == fits)
                if fits {
                    var total = pinned + order.reduce(0) { $0 + sizes[$1] } + sizes[index]
                    while total > 120 { total -= sizes[order.removeFirst()] }
                    pins[index] = 1
                }
            }
            let pinned = images.indices.reduce(0) { $0 + (pins[$1] > 0 ? sizes[$1] : 0) }
            #expect(cache.pinnedByteCount == pinned)
            #expect(cache.byteCount == pinned + order.reduce(0) { $0 + sizes[$1] })
        }
    }
}
