package import CCUDAKernels
import Tensors

/// The tile of gemm.cu and who works on it.
package struct HopperTile: Hashable, Sendable {
    package let tokens: Int
    /// Each group of four warps multiplies `64 · halves` features.
    package let halves: Int
    package let scheme: vlm_cuda_gemm_scheme.RawValue

    init(tokens: Int, halves: Int, _ scheme: vlm_cuda_gemm_scheme) {
        self.tokens = tokens
        self.halves = halves
        self.scheme = scheme.rawValue
    }

    package var isPair: Bool { scheme == VLM_CUDA_GEMM_PAIR.rawValue || scheme == VLM_CUDA_GEMM_ALTERNATE_PAIR.rawValue }
    package var alternates: Bool {
        scheme == VLM_CUDA_GEMM_ALTERNATE.rawValue || scheme == VLM_CUDA_GEMM_ALTERNATE_PAIR.rawValue
    }
    package var isSplit: Bool { scheme == VLM_CUDA_GEMM_SPLIT.rawValue }
    package var features: Int { Int(vlm_cuda_gemm_features(Int32(halves), Int32(scheme))) }

    /// The tiles that programs are compiled for: enough to cut any number of tokens with little waste, few enough to compile.
    package static let all: [HopperTile] = {
        func tiles(_ scheme: vlm_cuda_gemm_scheme, _ single: [Int], _ double: [Int]) -> [HopperTile] {
            single.map { HopperTile(tokens: $0, halves: 1, scheme) } + double.map { HopperTile(tokens: $0, halves: 2, scheme) }
        }
        return tiles(
            VLM_CUDA_GEMM_TOGETHER, [16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 256], [64, 80, 96, 112, 128, 144])
            + tiles(VLM_CUDA_GEMM_PAIR, [144, 160, 176, 208, 256], [128, 144])
            // With one half, a tile of one group would be too small to feed.
            + tiles(VLM_CUDA_GEMM_ALTERNATE, [], [64, 80, 96, 112, 128, 144, 160, 176, 192])
            + tiles(VLM_CUDA_GEMM_SPLIT, [32, 64, 96, 128, 176, 208, 256], [112, 128, 144, 176])
    }()

    /// `VLM_OPTION` of the program for this tile.
    func option(_ epilogue: vlm_cuda_gemm_epilogue, _ activation: vlm_cuda_activation) -> Int {
        Int(
            vlm_cuda_gemm_option(
                Int32(tokens), Int32(halves), Int32(scheme), Int32(epilogue.rawValue), Int32(activation.rawValue), 0))
    }

    /// Bytes of dynamic shared memory of a launch.
    func sharedBytes(_ epilogue: vlm_cuda_gemm_epilogue) -> Int {
        Int(vlm_cuda_gemm_shared_bytes(Int32(tokens), Int32(halves), Int32(scheme), Int32(epilogue.rawValue)))
    }
}

/// How gemm.cu multiplies one shape: which tile, and how many blocks.
package struct HopperGEMMPlan {
    package let tile: HopperTile
    /// Blocks of a cluster: they share tokens, or one tile.
    package let cluster: Int
    /// Blocks or clusters of them.
    package let workers: Int
    package let featureTiles: Int
    package let tokenTiles: Int
    /// Token tiles that are done before the next features'.
    package let group: Int
    /// Steps along K.
    package let blocks: Int
    /// Estimated cycles at 1.75 GHz.
    package let cost: Double
    /// Estimated microseconds on an H100.
    package var microseconds: Double { cost / 1750 }

    /// Blocks of clusters of n that an H100 was seen to run at a time: a cluster must fit into one part of the chip.
    private static let residentBlocks = [0, 132, 132, 108, 112, 100, 96, 84, 96]

    /// The cheapest plan; which one depends on nothing but the arguments.
    package init?(
        tokens: Int, features: Int, inFeatures: Int, epilogue: vlm_cuda_gemm_epilogue, activation: vlm_cuda_activation,
        multiprocessors: Int
    ) {
        var best: HopperGEMMPlan?
        for tile in HopperTile.all {
            for cluster in tile.isSplit ? 2...8 : tile.isPair ? 2...2 : 1...1 {
                let plan = HopperGEMMPlan(
                    tile, cluster: cluster, tokens: tokens, features: features, inFeatures: inFeatures, epilogue: epilogue,
                    activation: activation, multiprocessors: multiprocessors)
                if let plan, plan.cost < best?.cost ?? .infinity { best = plan }
            }
        }
        guard let best else { return nil }
        self = best
    }

    private init?(
        _ tile: HopperTile, cluster: Int, tokens: Int, features: Int, inFeatures: Int, epilogue: vlm_cuda_gemm_epilogue,
        activation: vlm_cuda_activation, multiprocessors: Int
    ) {
        self.tile = tile
        self.cluster = cluster
        let height = tile.features
        let across = tile.isPair ? 2 * height : height
        featureTiles = (features + across - 1) / across
        tokenTiles = (tokens + tile.tokens - 1) / tile.tokens
        let tiles = featureTiles * tokenTiles
        blocks = (inFeatures + Int(VLM_CUDA_GEMM_DEPTH) - 1) / Int(VLM_CUDA_GEMM_DEPTH)
        let most = multiprocessors / cluster
        guard most > 0, tiles <= Int(Int32.max) / 256 else { return nil }
        // A cluster that splits a tile does one.
        if tile.isSplit {
            let resident = HopperGEMMPlan.residentBlocks[cluster] * multiprocessors / 132
            guard tiles * cluster <= resident, 2 * cluster <= blocks else { return nil }
        }
        workers = min(most, tiles)

        // The constants are fitted to 380 times of an H100 (root mean square error 10 %, chosen tiles 2 % slower than the best measured).
        // Cycles of one step: the tensor cores do 2048 products a cycle but throttle; the second-level cache brings at most 64 bytes to a
        // multiprocessor, and fewer to all, above all when neighbours work on different parts of K.
        let used = Double(workers * cluster)
        let arriving = min(64, (tile.isSplit ? 4120 : tile.isPair ? 5850 : 5750) / used)
        let step = max(Double(height * tile.tokens) / 32 * 1.25, Double((height + tile.tokens) * 128) / arriving)
        let perResult: Double =
            switch epilogue {
            case VLM_CUDA_GEMM_ACTIVATE: activation == VLM_CUDA_RELU ? 1 : 14
            case VLM_CUDA_GEMM_GATED: 20
            case VLM_CUDA_GEMM_ACCUMULATE: 4.5
            default: 0.5
            }
        let results = Double(tile.tokens * tile.halves)
        let finish = 770 + perResult * results
        let rounds = Double((tiles + workers - 1) / workers)
        let mainloop = Double(blocks) * step
        let busy: Double
        if tile.isSplit {
            busy = 5500 + Double((blocks + cluster - 1) / cluster) * step + 15 * results + finish / Double(cluster)
        } else if tile.alternates {
            busy = rounds * (mainloop + 260) + 0.66 * finish
        } else {
            busy = rounds * (mainloop + finish)
        }
        // All multiprocessors together read about 1530 bytes of weights a cycle from memory; more token tiles read them again from the cache.
        let weights = Double(features) * Double(inFeatures) * 2 * (1 + 0.03 * Double(tokenTiles - 1))
        let reading = weights / 1530 + finish / 2 + 2 * results
        cost = (tile.isPair ? 6050 : 4430) + max(busy, reading)
        let wide = min(tokenTiles, max(1, 2048 / tile.tokens))
        let groups = (tokenTiles + wide - 1) / wide
        group = (tokenTiles + groups - 1) / groups
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

    func entry(_ key: Key, _ make: () throws -> Entry?) rethrows -> Entry? {
        if let known = entries[key] { return known }
        if entries.count == HopperGEMMPlans.most { entries.removeAll() }
        let entry = try make()
        entries[key] = entry
        return entry
    }
}
