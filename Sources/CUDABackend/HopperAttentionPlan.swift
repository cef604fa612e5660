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
        groups = Int((headSize <= 64 ? VLM_HOPPER_GROUPS_NARROW : VLM_HOPPER_GROUPS_WIDE).rawValue)
        let (lastTokens, tileTokens) = (groups * 64 / group, groups * 64 / group)
        guard tileTokens > 0 else { return nil }
        let boxes = (headSize + 63) / 64
        let stepKeys = Int(VLM_HOPPER_KEYS.rawValue)
        sharedBytes = 1024 + boxes * groups * 64 * 128 + 2 * Int(VLM_HOPPER_STAGES.rawValue) * boxes * stepKeys * 128

        // Work in steps of one tile; the longest tile; and in multiplications of tiles of 64 rows, as the other kernel does them.
        var (tiles, steps, longest, elsewhere) = (0, 0.0, 0.0, 0.0)
        for s in 0..<starts.count - 1 {
            let new = Int(starts[s + 1] - starts[s])
            let context = contexts.map { Int($0[s]) } ?? new
            guard new > 0, context > 0 else { continue }
            let seen = min(context, window.map { $0 + lastTokens } ?? .max)
            let mean = contexts == nil ? Double(seen) : min(Double(context) - Double(new) / 2, Double(seen))
            let count = 1 + max(0, (new - lastTokens + tileTokens - 1) / tileTokens)
            // A tile whose rows fit one warpgroup has no other to wait for.
            let time = new * group <= 64 ? HopperAttentionPlan.loneStep : HopperAttentionPlan.step
            tiles += count
            steps += Double(count) * (mean / Double(stepKeys) + 1) * time
            longest = max(longest, Double((seen + stepKeys - 1) / stepKeys) * time)
            elsewhere += Double((new * group + 63) / 64 * 64) * mean
        }
        self.lastTokens = lastTokens
        self.tileTokens = tileTokens
        self.tiles = tiles
        blocks = min(tiles * kvHeads, multiprocessors)
        let rounds = (tiles * kvHeads + multiprocessors - 1) / max(multiprocessors, 1)
        cost = max(longest, steps / Double(max(tiles, 1)) * Double(rounds)) + HopperAttentionPlan.fixed
        costElsewhere =
            elsewhere * Double(4 * headSize * kvHeads) / (HopperAttentionPlan.elsewherePerMicrosecond * Double(multiprocessors))
            + HopperAttentionPlan.fixedElsewhere
    }

    // Measured on an H100, in microseconds: a step of 128 keys, with all warpgroups and with one, and start and end of the kernel. Of the
    // other kernel: floating-point operations per microsecond and multiprocessor, and the rest.
    private static let step = 1.9
    private static let loneStep = 1.3
    private static let fixed = 5.0
    private static let elsewherePerMicrosecond = 1.3e6
    private static let fixedElsewhere = 10.0
}
