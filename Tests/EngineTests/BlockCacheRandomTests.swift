import Engine
import TestKit
import Testing

/// Thousands of sequences that come, compute, grow, share and go, beside a plain model of what should happen.
@Suite struct BlockCacheRandomTests {
    struct Setting: Sendable, CustomTestStringConvertible {
        let seed: UInt64
        let blocks: Int
        let blockSize: Int
        let keyMask: UInt64
        var testDescription: String { "seed \(seed): \(blocks) blocks of \(blockSize), key mask \(keyMask)" }
    }

    private static let settings = [
        Setting(seed: 1, blocks: 24, blockSize: 4, keyMask: .max), Setting(seed: 2, blocks: 24, blockSize: 4, keyMask: 0),
        Setting(seed: 3, blocks: 60, blockSize: 4, keyMask: 3), Setting(seed: 4, blocks: 40, blockSize: 2, keyMask: .max),
        Setting(seed: 5, blocks: 12, blockSize: 8, keyMask: 7), Setting(seed: 6, blocks: 30, blockSize: 1, keyMask: .max),
        Setting(seed: 7, blocks: 200, blockSize: 4, keyMask: .max),
    ]

    @Test(arguments: settings) func theCacheDoesWhatThePlainModelDoes(setting: Setting) throws {
        var run = Run(setting)
        for step in 0..<20_000 {
            run.act()
            if step % 50 == 0 { run.check() }
            if let wrong = run.wrong {
                Issue.record("step \(step): \(wrong)")
                return
            }
        }
        // Nobody is left, and what was found was not found by accident.
        run.finish()
        #expect(run.wrong == nil)
        #expect(run.cache.heldCount == 0)
        #expect(run.cache.tokensHit > run.cache.tokensLookedUp / 40)
        #expect(run.cache.evictions > 1000)
    }

    private struct User {
        var user: CacheUser
        var naive = NaiveBlockCache.Held()
        var prefixes: [Int]
    }

    private struct Run {
        let cache: BlockCache
        var naive: NaiveBlockCache
        var wrong: String?
        private let setting: Setting
        private var random: SeededGenerator
        private var numbers = PrefixNumbers()
        private let images: [InternedImage]
        private var users: [User] = []
        private var history: [CacheContent] = []
        /// What stands in each slot of the cache's memory: the number of the prefix that ends there.
        private var memory: [Int]

        init(_ setting: Setting) {
            self.setting = setting
            cache = BlockCache(blockCount: setting.blocks, blockSize: setting.blockSize, keyMask: setting.keyMask)
            naive = NaiveBlockCache(blockCount: setting.blocks, blockSize: setting.blockSize)
            random = SeededGenerator(seed: setting.seed)
            memory = Array(repeating: 0, count: setting.blocks * setting.blockSize)
            let interner = ImageInterner { _ in ContentHash(low: 1, high: 2) }
            images = (0..<3).map { interner.intern(CacheContent.picture([1, 2, Float($0), 4, 5, 6, 7])) }
        }

        mutating func act() {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3: arrive()
            case 3..<8: if !users.isEmpty { compute(Int.random(in: 0..<users.count, using: &random)) }
            default: if !users.isEmpty { leave(Int.random(in: 0..<users.count, using: &random)) }
            }
            let (books, expected) = (
                [cache.availableCount, cache.cachedCount, cache.evictions],
                [naive.availableCount, naive.idle.count, naive.evictions]
            )
            expect(books == expected, "available, cached and evicted blocks are \(books) and not \(expected)")
        }

        /// Text of few words, pictures of few kinds, and often the beginning of something that was there before.
        private mutating func content() -> CacheContent {
            var content = CacheContent()
            if Int.random(in: 0..<4, using: &random) > 0, let old = history.randomElement(using: &random) {
                content = old.prefix(Int.random(in: 0...old.tokens.count, using: &random))
            }
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                if Int.random(in: 0..<3, using: &random) == 0, let image = images.randomElement(using: &random) {
                    let first = Int.random(in: 0..<2, using: &random)
                    content.add(image, rows: first..<Int.random(in: 3...7, using: &random))
                } else {
                    content.add((0..<Int.random(in: 1...6, using: &random)).map { _ in Int32.random(in: 0..<2, using: &random) })
                }
            }
            return content.prefix(setting.blocks * setting.blockSize / 2)
        }

        private mutating func arrive() {
            let content = content()
            var user = User(user: CacheUser(content), prefixes: numbers.numbers(of: content))
            let limit =
                Int.random(in: 0..<3, using: &random) > 0
                ? content.tokens.count - 1 : Int.random(in: 0..<content.tokens.count, using: &random)
            let reserve = Int.random(in: 0...2, using: &random)
            let count = user.user.admit(cache, limit: limit, reserve: reserve)
            let expected = naive.admit(&user.naive, prefixes: user.prefixes, limit: limit, reserve: reserve)
            expect(count == expected, "\(String(describing: count)) tokens were found instead of \(String(describing: expected))")
            guard let count else { return }
            // What comes from the cache is what the sequence would compute.
            for position in 0..<count {
                expect(memory[slot(user, position)] == user.prefixes[position], "position \(position) holds something else")
            }
            users.append(user)
        }

        private mutating func compute(_ index: Int) {
            // Now and then a response grows.
            if users[index].user.computed == users[index].user.content.tokens.count {
                users[index].user.content.add([Int32.random(in: 0..<2, using: &random)])
                users[index].prefixes = numbers.numbers(of: users[index].user.content)
                let count = users[index].prefixes.count
                let grew = cache.extend(&users[index].user.held, to: count)
                expect(grew == naive.extend(&users[index].naive, to: count), "a block was given or not against expectation")
                guard grew else {
                    users[index].user.content = users[index].user.content.prefix(count - 1)
                    users[index].prefixes.removeLast()
                    return leave(index)
                }
            }
            let start = users[index].user.computed
            let end = Int.random(in: start + 1...users[index].prefixes.count, using: &random)
            for position in start..<end { memory[slot(users[index], position)] = users[index].prefixes[position] }
            users[index].user.compute(cache, to: end)
            naive.publish(&users[index].naive, prefixes: users[index].prefixes, computed: end)
        }

        private mutating func leave(_ index: Int) {
            var user = users.remove(at: index)
            naive.release(&user.naive, prefixes: user.prefixes, computed: user.user.computed)
            user.user.release(cache)
            history.append(user.user.content)
            if history.count > 30 { history.remove(at: Int.random(in: 0..<30, using: &random)) }
        }

        private func slot(_ user: User, _ position: Int) -> Int {
            Int(user.user.held.blocks[position / setting.blockSize]) * setting.blockSize + position % setting.blockSize
        }

        mutating func check() {
            if let first = cache.checkInvariants(holders: users.map(\.user.held)).first { expect(false, first) }
            for user in users {
                for position in 0..<user.user.computed {
                    expect(memory[slot(user, position)] == user.prefixes[position], "position \(position) was overwritten")
                }
            }
        }

        mutating func finish() {
            check()
            while !users.isEmpty { leave(0) }
            check()
        }

        private mutating func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
            if !condition, wrong == nil { wrong = text() }
        }
    }
}
