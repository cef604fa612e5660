import CCUDAKernels

/// How attention_hopper.cu cuts one call: tiles of queries by steps of keys, one block after another on each multiprocessor.
package struct HopperAttentionPlan {
    /// Warpgroups that compute, 64 rows each.
    package let groups: Int
    /// Tokens of a tile, and the most that a sequence's last tile may have.
    package let tileTokens: Int
    package let lastTokens: Int
    package let tiles: Int
    package let blocks: Int
    package let sharedBytes: Int
    /// Estimated microseconds, and what the kernel for every GPU would take.
    let cost: Double
    let costElsewhere: Double

    package var isWorthIt: Bool { cost <= costElsewhere }

    /// Head sizes the kernel is compiled for.
    package static let headSizes = [64, 72, 80, 88, 96, 128]

    /// - Parameters:
    ///   - starts: rows of sequence s are `starts[s] ..< starts[s + 1]`.
    ///   - contexts: of causal attention, the new tokens included; nil when every row sees all rows of its sequence.
    /// - Returns: nil when a tile cannot hold the query heads of one key-value head.
    package init?(
        starts: [Int32], contexts: [Int32]?, window: Int?, heads: Int, kvHeads: Int, headSize: Int, multiprocessors: Int
    ) {
        let group = heads / kvHeads
        let isNarrow = headSize <= 64
        let groups = Int((isNarrow ? VLM_HOPPER_GROUPS_NARROW : VLM_HOPPER_GROUPS_WIDE).rawValue)
        let lastTokens = groups * 64 / group
        guard lastTokens > 0 else { return nil }
        self.groups = groups
        self.lastTokens = lastTokens
        let boxes = (headSize + 63) / 64
        let stages = Int((isNarrow ? VLM_HOPPER_STAGES_NARROW : VLM_HOPPER_STAGES_WIDE).rawValue)
        sharedBytes = 1024 + boxes * groups * 64 * 128 + 2 * stages * boxes * HopperAttentionPlan.stepKeys * 128

        // Tiles for all warpgroups, or for fewer where that makes the longest shorter.
        var best: (tileTokens: Int, tiles: Int, cost: Double)?
        for busy in stride(from: groups, to: 0, by: -1) {
            let tileTokens = busy * 64 / group
            guard tileTokens > 0 else { break }
            let stepTime = HopperAttentionPlan.stepTime(isNarrow: isNarrow, groups: busy)
            var (tiles, sum, longest) = (0, 0.0, 0.0)
            HopperAttentionPlan.forEachSequence(starts, contexts, window: window, lastTokens) { new, seen, mean in
                let count = 1 + max(0, (new - lastTokens + tileTokens - 1) / tileTokens)
                // A single tile may be of fewer rows than its place.
                let fewer = min(busy, (min(new, lastTokens) * group + 63) / 64)
                let time = fewer == busy ? stepTime : HopperAttentionPlan.stepTime(isNarrow: isNarrow, groups: fewer)
                let steps = Double((seen + HopperAttentionPlan.stepKeys - 1) / HopperAttentionPlan.stepKeys)
                tiles += count
                sum +=
                    Double(count)
                    * (min(steps, mean / Double(HopperAttentionPlan.stepKeys) + 0.5) * time + HopperAttentionPlan.tileTime)
                longest = max(longest, steps * time + HopperAttentionPlan.tileTime)
            }
            let cost = max(longest, sum * Double(kvHeads) / Double(multiprocessors))
            if best.map({ cost < $0.cost }) ?? true { best = (tileTokens, tiles, cost) }
        }
        guard let best else { return nil }
        tileTokens = best.tileTokens
        tiles = best.tiles
        cost = best.cost + HopperAttentionPlan.fixed
        blocks = min(best.tiles * kvHeads, multiprocessors)

        // The other kernel multiplies tiles of 64 rows.
        var products = 0.0
        HopperAttentionPlan.forEachSequence(starts, contexts, window: window, lastTokens) { new, _, mean in
            products += Double((new * group + 63) / 64 * 64) * mean
        }
        costElsewhere =
            products * Double(4 * headSize * kvHeads) / (HopperAttentionPlan.elsewherePerMicrosecond * Double(multiprocessors))
            + HopperAttentionPlan.fixedElsewhere
    }

    /// Calls `body` with each sequence's new tokens, the most keys that a tile sees, and the keys that a query sees on average.
    private static func forEachSequence(
        _ starts: [Int32], _ contexts: [Int32]?, window: Int?, _ lastTokens: Int, _ body: (Int, Int, Double) -> Void
    ) {
        for s in 0..<starts.count - 1 {
            let new = Int(starts[s + 1] - starts[s])
            let context = contexts.map { Int($0[s]) } ?? new
            guard new > 0, context > 0 else { continue }
            let seen = min(context, window.map { $0 + lastTokens } ?? .max)
            body(new, seen, contexts == nil ? Double(seen) : min(Double(context) - Double(new) / 2, Double(seen)))
        }
    }

    private static let stepKeys = Int(VLM_HOPPER_KEYS.rawValue)

    // Measured on an H100, in microseconds.

    /// A step of keys for a tile of so many warpgroups.
    private static func stepTime(isNarrow: Bool, groups: Int) -> Double {
        switch groups {
        case 1: isNarrow ? 0.9 : 1.15
        case 2: isNarrow ? 1.3 : 1.55
        default: 1.4
        }
    }
    /// What a tile takes beside its steps, and a call beside its tiles.
    private static let tileTime = 2.9
    private static let fixed = 2.5
    /// Of the other kernel: floating-point operations per microsecond and multiprocessor, and the rest.
    private static let elsewherePerMicrosecond = 1.3e6
    private static let fixedElsewhere = 10.0
}
