package import CCUDAKernels

/// How the skinny kernel is launched.
package struct SkinnyPlan {
    /// What bounds a launch on one kind of GPU.
    package struct Limits {
        package let multiprocessors: Int
        /// Shared memory in bytes that a block can have, and that a multiprocessor has.
        package let sharedBytesPerBlock: Int
        package let sharedBytesPerMultiprocessor: Int

        package init(multiprocessors: Int, sharedBytesPerBlock: Int, sharedBytesPerMultiprocessor: Int) {
            self.multiprocessors = multiprocessors
            self.sharedBytesPerBlock = sharedBytesPerBlock
            self.sharedBytesPerMultiprocessor = sharedBytesPerMultiprocessor
        }

        init(_ device: DeviceProperties) {
            self.init(
                multiprocessors: device.multiprocessors, sharedBytesPerBlock: device.sharedBytesPerBlock,
                sharedBytesPerMultiprocessor: device.sharedBytesPerMultiprocessor)
        }
    }

    package let blocks: Int
    package let sharedBytes: Int

    /// Completes `parameters` by the ring's size and whether `x` goes to shared memory.
    ///
    /// A kernel that leaves half a multiprocessor's shared memory free lets the next one fetch its first weights while this one still
    /// multiplies; with several rows of `x` a longer ring is worth more. Rows that leave no room are read where they are, through the
    /// first-level cache.
    ///
    /// - Returns: nil when a norm is asked for and `x` does not fit into shared memory.
    package init?(_ parameters: inout vlm_cuda_linear, _ device: Limits, elementSize: Int) {
        let (rows, width) = (Int(parameters.rows), Int(parameters.in_features))
        let pitch = (width * elementSize + 127) / 128 * 128 + 64
        let isNormed = parameters.norm_weight != nil
        let staged = rows * pitch + (isNormed ? width * 4 : 0)
        let results = 2 * Int(VLM_CUDA_SKINNY_CONSUMERS) * rows * Int(VLM_CUDA_SKINNY_RESULT_PITCH) * 4
        let fixed = Int(VLM_CUDA_SKINNY_HEADER_BYTES) + results
        let stage = Int(VLM_CUDA_SKINNY_STAGE_BYTES)
        let all = device.sharedBytesPerBlock
        let half = min(all, device.sharedBytesPerMultiprocessor / 2 - 1024)
        let enough = 4
        func stages(_ budget: Int, _ bytes: Int) -> Int { min(6, (budget - fixed - bytes) / stage) }

        let bytes: Int
        if stages(half, staged) >= enough {
            (parameters.stages, parameters.staged, bytes) = (Int32(stages(half, staged)), 1, staged)
        } else if stages(all, staged) >= enough {
            (parameters.stages, parameters.staged, bytes) = (Int32(stages(all, staged)), 1, staged)
        } else if isNormed {
            return nil
        } else {
            let budget = stages(half, 0) >= enough ? half : all
            (parameters.stages, parameters.staged, bytes) = (Int32(max(2, stages(budget, 0))), 0, 0)
        }
        parameters.staged_pitch = Int32(pitch)
        parameters.prefetched = 8
        sharedBytes = fixed + Int(parameters.stages) * stage + bytes
        let tiles = (Int(parameters.weight_rows) + Int(VLM_CUDA_SKINNY_TILE_ROWS) - 1) / Int(VLM_CUDA_SKINNY_TILE_ROWS)
        let chunk = Int(VLM_CUDA_SKINNY_CHUNK_BYTES)
        let chunks = (width * elementSize + chunk - 1) / chunk
        // Whole tiles if most multiprocessors then have some: the memory is the limit, not they, and nobody waits for another's part.
        let tilesOfBlock = (tiles + device.multiprocessors - 1) / device.multiprocessors
        let busy = (tiles + tilesOfBlock - 1) / tilesOfBlock
        let share =
            busy * 5 >= device.multiprocessors * 3
            ? tilesOfBlock * chunks : (tiles * chunks + device.multiprocessors - 1) / device.multiprocessors
        parameters.share = Int32(share)
        blocks = (tiles * chunks + share - 1) / share
    }
}
