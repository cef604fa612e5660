package import CCUDAKernels
import Tensors

/// The tile of gemm.cu: `128 · halves` features by `tokens`, in pairs of blocks that share their tokens or alone.
package struct HopperTile: Hashable, Sendable {
    package let tokens: Int
    package let halves: Int
    package let isPair: Bool

    init(tokens: Int, halves: Int = 1, isPair: Bool = false) {
        self.tokens = tokens
        self.halves = halves
        self.isPair = isPair
    }

    /// The tiles that programs are compiled for: enough to cut any number of tokens with little waste, few enough to compile.
    package static let all: [HopperTile] =
        [32, 64, 96, 128, 160, 176, 208, 256].map { HopperTile(tokens: $0) }
        + [64, 96, 128, 176].map { HopperTile(tokens: $0, halves: 2) }
        + [176, 208, 256].map { HopperTile(tokens: $0, isPair: true) }
        + [128, 176].map { HopperTile(tokens: $0, halves: 2, isPair: true) }

    /// `VLM_OPTION` of the program for this tile.
    func option(_ epilogue: vlm_cuda_gemm_epilogue, _ activation: vlm_cuda_activation) -> Int {
        Int(
            vlm_cuda_gemm_option(
                Int32(tokens), Int32(halves), isPair ? 1 : 0, Int32(epilogue.rawValue), Int32(activation.rawValue), 0))
    }
}

/// How gemm.cu multiplies one shape: which tile, and who does which part.
package struct HopperGEMMPlan {
    package let tile: HopperTile
    /// Blocks, or pairs of them.
    package let workers: Int
    package let featureTiles: Int
    package let tokenTiles: Int
    /// Token tiles that are done before the next features'.
    package let group: Int
    /// Tiles cut along K so that workers have equal shares.
    package let splitTiles: Int
    package let blocks: Int
    /// Estimated microseconds.
    let cost: Double

    /// The cheapest plan; which one depends on nothing but the arguments.
    ///
    /// - Parameters:
    ///   - partialBytes: scratch memory for the parts of split tiles.
    package init(
        tokens: Int, features: Int, inFeatures: Int, epilogue: vlm_cuda_gemm_epilogue, multiprocessors: Int, partialBytes: Int
    ) {
        var best: HopperGEMMPlan?
        for tile in HopperTile.all {
            for rounds in 0..<3 {
                let plan = HopperGEMMPlan(
                    tile, splitting: rounds, tokens: tokens, features: features, inFeatures: inFeatures, epilogue: epilogue,
                    multiprocessors: multiprocessors, partialBytes: partialBytes)
                if let plan, plan.cost < best?.cost ?? .infinity { best = plan }
            }
        }
        // The first tile without splitting is always possible.
        self =
            best
            ?? HopperGEMMPlan(
                tile: HopperTile.all[0], workers: 1, featureTiles: (features + 127) / 128, tokenTiles: (tokens + 31) / 32,
                group: 1,
                splitTiles: 0, blocks: (inFeatures + 63) / 64, cost: .infinity)
    }

    private init(
        tile: HopperTile, workers: Int, featureTiles: Int, tokenTiles: Int, group: Int, splitTiles: Int, blocks: Int, cost: Double
    ) {
        self.tile = tile
        self.workers = workers
        self.featureTiles = featureTiles
        self.tokenTiles = tokenTiles
        self.group = group
        self.splitTiles = splitTiles
        self.blocks = blocks
        self.cost = cost
    }

    /// - Parameter splitting: 0: no tile is cut; 1: the tiles that do not fill the last round; 2: those and one round more, so that
    ///   shares are long.
    private init?(
        _ tile: HopperTile, splitting: Int, tokens: Int, features: Int, inFeatures: Int, epilogue: vlm_cuda_gemm_epilogue,
        multiprocessors: Int, partialBytes: Int
    ) {
        let blocksPerWorker = tile.isPair ? 2 : 1
        let height = 128 * tile.halves
        let featureTiles = (features + height * blocksPerWorker - 1) / (height * blocksPerWorker)
        let tokenTiles = (tokens + tile.tokens - 1) / tile.tokens
        let tiles = featureTiles * tokenTiles
        let blocks = (inFeatures + Int(VLM_CUDA_GEMM_DEPTH) - 1) / Int(VLM_CUDA_GEMM_DEPTH)
        var workers = multiprocessors / blocksPerWorker
        guard workers > 0 else { return nil }
        let rest = tiles % workers
        var splitTiles = 0
        if splitting > 0 {
            guard rest != 0 else { return nil }
            splitTiles = rest + (splitting == 2 ? workers : 0)
            guard splitTiles <= tiles, 2 * blocksPerWorker * workers * height * tile.tokens * 4 <= partialBytes else {
                return nil
            }
            // At least two steps for each share.
            workers = tiles == splitTiles ? max(1, min(workers, splitTiles * blocks / 2)) : workers
            guard splitTiles * blocks >= workers else { return nil }
        } else {
            workers = min(workers, tiles)
        }
        guard tiles <= Int(Int32.max) / max(blocks, 256) else { return nil }

        // Cycles of one step: the tensor cores do 2048 products a cycle; the second-level cache brings about 40 bytes.
        let multiplying = Double(4 * height * tile.tokens / 128) * 1.06
        let bytes = Double(128 * (height + tile.tokens / blocksPerWorker))
        let step = max(multiplying, bytes / 40)
        // What lies between the last product of a tile and the first of the next.
        let perResult = epilogue == VLM_CUDA_GEMM_ACTIVATE ? 14.0 : epilogue == VLM_CUDA_GEMM_ACCUMULATE ? 8.0 : 6.0
        let finishing = 600 + perResult * Double(tile.tokens * tile.halves)
        let wholeRounds = (tiles - splitTiles + workers - 1) / workers
        var cycles = 2500 + Double(wholeRounds) * (Double(blocks) * step + finishing)
        if splitTiles > 0 {
            let share = (splitTiles * blocks + workers - 1) / workers
            let parts = Double(workers) / Double(splitTiles) + 1
            cycles += Double(share) * step + finishing + 2500 + parts * Double(2 * tile.tokens * tile.halves)
        }
        // The weights come from memory once for each group of tokens, at 3 TB/s.
        let memory = Double(features * inFeatures * 2 + tokens * inFeatures * 2) / 3e6
        let group = min(tokenTiles, max(1, 2048 / tile.tokens))
        let groups = (tokenTiles + group - 1) / group
        self.init(
            tile: tile, workers: workers, featureTiles: featureTiles, tokenTiles: tokenTiles,
            group: (tokenTiles + groups - 1) / groups, splitTiles: splitTiles, blocks: blocks,
            cost: max(cycles / 1600, memory) + cycles / 16000)
    }

    /// Bytes of dynamic shared memory.
    func sharedBytes(_ epilogue: vlm_cuda_gemm_epilogue) -> Int {
        Int(vlm_cuda_gemm_shared_bytes(Int32(tile.tokens), Int32(tile.halves), Int32(epilogue.rawValue)))
    }
}

/// The plans of one backend, by shape.
final class HopperGEMMPlans {
    struct Key: Hashable {
        let tokens, features, inFeatures: Int
        let epilogue: vlm_cuda_gemm_epilogue.RawValue
        let activation: vlm_cuda_activation.RawValue
    }

    struct Entry {
        let plan: HopperGEMMPlan
        let kernel: Kernel
    }

    private var entries: [Key: Entry] = [:]
    /// Prompts have any length: when there are this many, all are forgotten.
    private static let most = 4096

    func entry(_ key: Key, _ make: () throws -> Entry) rethrows -> Entry {
        if let known = entries[key] { return known }
        if entries.count == HopperGEMMPlans.most { entries.removeAll() }
        let entry = try make()
        entries[key] = entry
        return entry
    }
}
