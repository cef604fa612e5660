import CCPUKernels

/// Memory that attention calls of one backend share; it grows to the largest call and is then reused, so that steady decoding
/// allocates nothing.
final class AttentionScratch {
    private var tiles = Block()
    private var partials = Block()
    private var sequences = Block()

    package init() {}

    deinit {
        for block in [tiles, partials, sequences] { block.pointer?.deallocate() }
    }

    func sequences(_ count: Int) -> UnsafeMutablePointer<vlm_attention_sequence> {
        sequences.reserve(count * MemoryLayout<vlm_attention_sequence>.stride)
            .assumingMemoryBound(to: vlm_attention_sequence.self)
    }

    func tiles(byteCount: Int) -> UnsafeMutablePointer<CChar> {
        tiles.reserve(byteCount).assumingMemoryBound(to: CChar.self)
    }

    func partials(_ count: Int) -> UnsafeMutablePointer<Float> {
        partials.reserve(count * MemoryLayout<Float>.stride).assumingMemoryBound(to: Float.self)
    }

    private struct Block {
        var pointer: UnsafeMutableRawPointer?
        var byteCount = 0

        /// At least `wanted` bytes on a cache line; what was in them is gone when they had to grow.
        mutating func reserve(_ wanted: Int) -> UnsafeMutableRawPointer {
            if let pointer, byteCount >= wanted { return pointer }
            pointer?.deallocate()
            // Half as much again, so that a context that grows by a token a step does not grow this every step.
            byteCount = max(wanted + wanted / 2, 4096)
            let fresh = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
            pointer = fresh
            return fresh
        }
    }
}
