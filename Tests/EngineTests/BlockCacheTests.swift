import Engine
import Models
import TestKit
import Testing

@Suite struct BlockCacheTests {
    /// Keys that tell contents apart, and keys that never do.
    static let masks: [UInt64] = [.max, 0]

    private func cache(_ blocks: Int = 16, mask: UInt64 = .max, caches: Bool = true) -> BlockCache {
        BlockCache(blockCount: blocks, blockSize: 4, cachesPrefixes: caches, keyMask: mask)
    }

    private func text(_ range: Range<Int32>) -> CacheContent { CacheContent(Array(range)) }

    // MARK: Without contents

    @Test func blocksOfASequenceLieInOrder() throws {
        let cache = cache(8, caches: false)
        var a = CacheUser(text(0..<10))
        var b = CacheUser(text(0..<5))
        #expect(a.admit(cache) == 0)
        #expect(b.admit(cache) == 0)
        #expect(a.held.blocks == [0, 1, 2])
        #expect(b.held.blocks == [3, 4])
        #expect(cache.heldCount == 5 && cache.availableCount == 3)
        a.compute(cache)
        a.release(cache)
        #expect(a.held.blocks.isEmpty)
        #expect(cache.cachedCount == 0)
        var c = CacheUser(text(0..<10))
        #expect(c.admit(cache) == 0)
        #expect(cache.checkInvariants(holders: [b.held, c.held]).isEmpty)
    }

    @Test(arguments: [true, false]) func whatDoesNotFitChangesNothing(caches: Bool) throws {
        let cache = cache(4, caches: caches)
        var a = CacheUser(text(0..<9))
        #expect(a.admit(cache) == 0)
        var b = CacheUser(text(0..<5))
        #expect(b.admit(cache) == nil)
        #expect(b.held.blocks.isEmpty)
        var c = CacheUser(text(0..<4))
        #expect(c.admit(cache, reserve: 1) == nil)
        #expect(c.admit(cache) == 0)
        #expect(cache.extend(&c.held, to: 4))
        #expect(!cache.extend(&c.held, to: 5))
        #expect(c.held.blocks.count == 1)
        a.release(cache)
        #expect(cache.extend(&c.held, to: 16))
        #expect(c.held.blocks.count == 4)
        #expect(cache.checkInvariants(holders: [c.held]).isEmpty)
    }

    // MARK: Prefixes

    @Test(arguments: masks) func aPromptThatBeginsAlikeComputesOnlyTheRest(mask: UInt64) throws {
        let cache = cache(mask: mask)
        #expect(CacheUser.run(cache, text(0..<11)) == 0)
        // Two full blocks, and the tail of three tokens where it goes on exactly.
        #expect(CacheUser.run(cache, text(0..<9) + text(50..<59)) == 8)
        #expect(CacheUser.run(cache, text(0..<11) + text(60..<62)) == 11)
        #expect(CacheUser.run(cache, text(0..<4) + text(90..<99)) == 4)
        #expect(CacheUser.run(cache, text(1..<12)) == 0)
        #expect(cache.tokensLookedUp == 11 + 18 + 13 + 13 + 11)
        #expect(cache.tokensHit == 8 + 11 + 4)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    @Test func somethingIsAlwaysLeftToCompute() throws {
        let cache = cache()
        #expect(CacheUser.run(cache, text(0..<8)) == 0)
        #expect(CacheUser.run(cache, text(0..<8)) == 4)
        #expect(CacheUser.run(cache, text(0..<6)) == 4)
        // Six were kept as a block and a tail of two; the last token of six is never taken from there.
        #expect(CacheUser.run(cache, text(0..<6)) == 4)
        #expect(CacheUser.run(cache, text(0..<7)) == 6)
        var none = CacheUser(text(0..<8))
        #expect(none.admit(cache, limit: 0) == 0)
        var some = CacheUser(text(0..<8))
        #expect(some.admit(cache, limit: 5) == 4)
        #expect(cache.checkInvariants(holders: [none.held, some.held]).isEmpty)
    }

    @Test func runningSequencesShareBlocksAsSoonAsTheyAreSubmitted() throws {
        let cache = cache()
        var a = CacheUser(text(0..<12))
        #expect(a.admit(cache) == 0)
        a.compute(cache, to: 7)
        var b = CacheUser(text(0..<12))
        #expect(b.admit(cache) == 4)
        #expect(b.held.blocks[0] == a.held.blocks[0])
        #expect(b.held.blocks[1] != a.held.blocks[1])
        // Both compute the second block; the later one goes on with the earlier one's.
        a.compute(cache, to: 11)
        let own = b.held.blocks[1]
        b.compute(cache, to: 8)
        #expect(b.held.blocks[1] == a.held.blocks[1])
        #expect(cache.heldCount == 4)
        #expect(cache.checkInvariants(holders: [a.held, b.held]).isEmpty)
        var c = CacheUser(text(70..<73))
        #expect(c.admit(cache) == 0)
        #expect(c.held.blocks == [own])
        a.release(cache)
        #expect(cache.heldCount == 4)
        b.release(cache)
        #expect(cache.heldCount == 1)
        #expect(cache.checkInvariants(holders: [c.held]).isEmpty)
    }

    @Test func tokensTheHostDoesNotKnowAreNotPublished() throws {
        let cache = cache()
        var a = CacheUser(text(0..<6))
        #expect(a.admit(cache) == 0)
        // Two positions more are under way on the device than the host has seen.
        a.compute(cache, to: 8)
        #expect(cache.checkInvariants(holders: [a.held]).isEmpty)
        a.release(cache)
        #expect(cache.cachedCount == 2)
        #expect(CacheUser.run(cache, text(0..<6) + text(40..<42)) == 6)
    }

    @Test func aRewoundSequenceFindsWhatItsBeginningLeft() throws {
        let cache = cache()
        let turns = (0..<4).map { text($0 * 10..<$0 * 10 + 7) }
        var history = CacheContent()
        var computed = 0
        for turn in turns {
            history = history + turn
            // Each turn computes itself alone.
            #expect(CacheUser.run(cache, history) == computed)
            computed = history.tokens.count
        }
        #expect(CacheUser.run(cache, turns[0] + turns[1] + text(80..<85)) == 12)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    // MARK: Tails

    @Test(arguments: masks) func oneBranchTakesATailOver(mask: UInt64) throws {
        let cache = cache(mask: mask)
        let trunk = text(0..<10)
        #expect(CacheUser.run(cache, trunk) == 0)
        var a = CacheUser(trunk + text(50..<53))
        var b = CacheUser(trunk + text(60..<63))
        #expect(a.admit(cache) == 10)
        #expect(b.admit(cache) == 8)
        #expect(a.held.blocks[..<2] == b.held.blocks[..<2])
        #expect(Set(a.held.blocks[2...]).isDisjoint(with: b.held.blocks[2...]))
        #expect(cache.checkInvariants(holders: [a.held, b.held]).isEmpty)
        a.compute(cache)
        b.compute(cache)
        a.release(cache)
        b.release(cache)
        // The tail went on as a's third block; each branch finds its own.
        #expect(CacheUser.run(cache, trunk + text(50..<53) + text(1..<2)) == 13)
        #expect(CacheUser.run(cache, trunk + text(60..<63) + text(1..<2)) == 13)
        #expect(CacheUser.run(cache, trunk + text(70..<73)) == 8)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    @Test func theLongestTailIsTaken() throws {
        let cache = cache()
        #expect(CacheUser.run(cache, text(0..<7)) == 0)
        #expect(CacheUser.run(cache, text(0..<6)) == 4)
        #expect(CacheUser.run(cache, text(0..<5)) == 4)
        #expect(cache.cachedCount == 4)
        #expect(CacheUser.run(cache, text(0..<7) + text(30..<31)) == 7)
        #expect(CacheUser.run(cache, text(0..<6) + text(40..<42)) == 6)
        #expect(CacheUser.run(cache, text(0..<5) + text(50..<53)) == 5)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    @Test func aTailThatIsThereIsKeptOnce() throws {
        let cache = cache()
        var a = CacheUser(text(0..<6))
        var b = CacheUser(text(0..<6))
        #expect(a.admit(cache) == 0)
        #expect(b.admit(cache) == 0)
        a.compute(cache)
        b.compute(cache)
        a.release(cache)
        b.release(cache)
        #expect(cache.cachedCount == 2)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    @Test func whatWasNeverComputedIsNotKept() throws {
        let cache = cache()
        var a = CacheUser(text(0..<10))
        #expect(a.admit(cache) == 0)
        a.release(cache)
        #expect(cache.cachedCount == 0 && cache.availableCount == 16)
        #expect(CacheUser.run(cache, text(0..<10)) == 0)
        // A tail that was taken over and given back unused is there again.
        var b = CacheUser(text(0..<12))
        #expect(b.admit(cache) == 10)
        b.release(cache)
        #expect(CacheUser.run(cache, text(0..<12)) == 10)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    // MARK: Eviction

    @Test func theLeastRecentlyUsedGivesWayLastBlocksFirst() throws {
        let cache = cache(6)
        #expect(CacheUser.run(cache, text(0..<12)) == 0)
        #expect(CacheUser.run(cache, text(20..<32)) == 0)
        #expect(cache.cachedCount == 6)
        // Looking the older one up makes it the newer one. Its last block, whose last token must be computed, gives way to itself.
        #expect(CacheUser.run(cache, text(0..<12)) == 8)
        #expect(cache.evictions == 1)
        var a = CacheUser(text(60..<65))
        #expect(a.admit(cache) == 0)
        #expect(cache.evictions == 3)
        #expect(cache.checkInvariants(holders: [a.held]).isEmpty)
        a.release(cache)
        #expect(CacheUser.run(cache, text(20..<25)) == 4)
        #expect(CacheUser.run(cache, text(0..<13)) == 12)
    }

    @Test func blocksInUseNeverGiveWay() throws {
        let cache = cache(6)
        var a = CacheUser(text(0..<13))
        #expect(a.admit(cache) == 0)
        a.compute(cache)
        #expect(CacheUser.run(cache, text(20..<28)) == 0)
        #expect(CacheUser.run(cache, text(30..<38)) == 0)
        var b = CacheUser(text(0..<12) + text(40..<49))
        // Three shared blocks and three of its own, where two are to be had.
        #expect(b.admit(cache) == nil)
        #expect(cache.cachedCount == 2)
        #expect(cache.checkInvariants(holders: [a.held]).isEmpty)
        var c = CacheUser(text(0..<12) + text(40..<48))
        #expect(c.admit(cache) == 12)
        #expect(cache.checkInvariants(holders: [a.held, c.held]).isEmpty)
    }

    @Test func aHitDoesNotCountItsOwnBlocksAsRoom() throws {
        let cache = cache(4)
        #expect(CacheUser.run(cache, text(0..<16)) == 0)
        // All four blocks are cached; three come along, one may give way.
        var a = CacheUser(text(0..<12) + text(40..<45))
        #expect(a.admit(cache) == nil)
        #expect(cache.cachedCount == 4)
        var b = CacheUser(text(0..<12) + text(40..<44))
        #expect(b.admit(cache, reserve: 1) == nil)
        #expect(b.admit(cache) == 12)
        #expect(cache.checkInvariants(holders: [b.held]).isEmpty)
    }

    @Test func afterADeviceFailedNothingIsTrusted() throws {
        let cache = cache()
        #expect(CacheUser.run(cache, text(40..<51)) == 0)
        var a = CacheUser(text(0..<10))
        #expect(a.admit(cache) == 0)
        a.compute(cache, to: 9)
        var b = CacheUser(text(0..<10))
        #expect(b.admit(cache) == 8)
        cache.forget()
        #expect(cache.cachedCount == 0 && cache.heldCount == 4)
        a.compute(cache)
        #expect(cache.checkInvariants(holders: [a.held, b.held]).isEmpty)
        var c = CacheUser(text(0..<10))
        #expect(c.admit(cache) == 0)
        c.compute(cache)
        a.release(cache)
        b.release(cache)
        #expect(cache.heldCount == 3 && cache.cachedCount == 0)
        c.release(cache)
        #expect(CacheUser.run(cache, text(0..<11)) == 10)
        #expect(CacheUser.run(cache, text(40..<52)) == 0)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    @Test func whatIsNotSharedIsNeitherFoundNorKept() throws {
        let cache = cache()
        #expect(CacheUser.run(cache, text(0..<11)) == 0)
        var own = [CacheUser(text(0..<11)), CacheUser(text(0..<11))]
        for index in own.indices {
            own[index].held = SequenceBlocks(isShared: false)
            #expect(own[index].admit(cache) == 0)
        }
        for index in own.indices { own[index].compute(cache) }
        #expect(cache.heldCount == 6)
        #expect(cache.checkInvariants(holders: own.map(\.held)).isEmpty)
        for index in own.indices { own[index].release(cache) }
        #expect(cache.cachedCount == 3 && cache.heldCount == 0)
    }

    // MARK: Pictures

    /// A picture of `count` rows; pictures of one family differ in one value.
    private func image(_ interner: ImageInterner, rows: Int, variant: Float) -> InternedImage {
        interner.intern(CacheContent.picture((0..<rows).map { $0 == rows / 2 ? variant : 1 }))
    }

    @Test(arguments: masks, [true, false]) func nearlyEqualPicturesAreNeverMixedUp(mask: UInt64, collides: Bool) throws {
        let interner = collides ? ImageInterner { _ in ContentHash(low: 7, high: 7) } : ImageInterner()
        let cache = cache(64, mask: mask)
        // The picture begins and ends inside blocks.
        func prompt(_ image: InternedImage, _ question: Range<Int32>) -> CacheContent {
            var content = text(1..<7)
            content.add(image, rows: 0..<9)
            content.add(Array(question))
            return content
        }
        let a = image(interner, rows: 9, variant: 2)
        let b = image(interner, rows: 9, variant: 3)
        #expect(CacheUser.run(cache, prompt(a, 20..<25)) == 0)
        // Text alone is common.
        #expect(CacheUser.run(cache, prompt(b, 20..<25)) == 4)
        #expect(CacheUser.run(cache, prompt(a, 30..<35)) == 12)
        #expect(CacheUser.run(cache, prompt(b, 30..<35)) == 12)
        #expect(CacheUser.run(cache, prompt(image(interner, rows: 9, variant: 2), 20..<26)) == 20)
        var imageless = text(1..<7)
        imageless.add(Array(repeating: 0, count: 9) + Array(20..<25))
        #expect(CacheUser.run(cache, imageless) == 4)
        #expect(CacheUser.run(cache, prompt(a, 40..<45)) == 12)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    /// Pictures of 32 bytes, two of which may be kept to compare others with.
    @Test func picturesOfCachedBlocksAreBounded() throws {
        let cache = BlockCache(blockCount: 64, blockSize: 4, pictureByteLimit: 64)
        let interner = ImageInterner()
        func prompt(_ variant: Float) -> CacheContent {
            var content = CacheContent()
            content.add(image(interner, rows: 8, variant: variant), rows: 0..<8)
            content.add([9])
            return content
        }
        for variant: Float in [2, 3, 4] { #expect(CacheUser.run(cache, prompt(variant)) == 0) }
        #expect(cache.pictureByteCount == 64)
        #expect(interner.count == 2)
        #expect(CacheUser.run(cache, prompt(3)) == 8)
        #expect(CacheUser.run(cache, prompt(4)) == 8)
        #expect(CacheUser.run(cache, prompt(2)) == 0)
        #expect(CacheUser.run(cache, prompt(3)) == 0)
        #expect(cache.checkInvariants(holders: []).isEmpty)
        cache.forget()
        #expect(cache.pictureByteCount == 0 && interner.count == 0)
    }

    @Test(arguments: masks) func placeAndRowsOfAPictureCount(mask: UInt64) throws {
        let cache = cache(64, mask: mask)
        let image = image(ImageInterner(), rows: 8, variant: 2)
        func prompt(rows: [Range<Int>]) -> CacheContent {
            var content = text(1..<3)
            for rows in rows { content.add(image, rows: rows) }
            content.add([9])
            return content
        }
        #expect(CacheUser.run(cache, prompt(rows: [0..<6])) == 0)
        #expect(CacheUser.run(cache, prompt(rows: [1..<7])) == 0)
        #expect(CacheUser.run(cache, prompt(rows: [0..<6]) + text(0..<1)) == 9)
        // The same tokens of which fewer, or later ones, show the picture.
        var later = CacheContent([1, 2, 0])
        later.add(image, rows: 0..<5)
        later.add([9])
        #expect(CacheUser.run(cache, later) == 0)
        var fewer = CacheContent([1, 2])
        fewer.add(image, rows: 0..<5)
        fewer.add([0, 9])
        #expect(CacheUser.run(cache, fewer) == 4)
        #expect(cache.checkInvariants(holders: []).isEmpty)
    }

    @Test func cachedBlocksKeepTheirPicturesAndNoLonger() throws {
        let interner = ImageInterner()
        let cache = cache(4)
        var content = CacheContent([1])
        content.add(image(interner, rows: 9, variant: 2), rows: 0..<9)
        #expect(CacheUser.run(cache, content) == 0)
        content = CacheContent()
        #expect(interner.count == 1)
        #expect(CacheUser.run(cache, text(20..<36)) == 0)
        #expect(interner.count == 0)
    }
}
