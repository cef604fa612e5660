package import CCUDAKernels

/// How the skinny kernel is launched.
package struct SkinnyPlan {
    /// What bounds a launch on one kind of GPU.
    package struct Limits {
        package let multiprocessors: Int
        /// The most shared memory that a block can have.
        package let sharedBytesPerBlock: Int

        package init(multiprocessors: Int, sharedBytesPerBlock: Int) {
            self.multiprocessors = multiprocessors
            self.sharedBytesPerBlock = sharedBytesPerBlock
        }

        init(_ device: DeviceProperties) {
            self.init(multiprocessors: device.multiprocessors, sharedBytesPerBlock: device.sharedBytesPerBlock)
        }
    }

    package let blocks: Int
    package let sharedBytes: Int

    /// Completes `parameters` by the ring's size and whether `x` goes to shared memory.
    ///
    /// The ring takes most of the shared memory, so that a multiprocessor has one block at a time: the next kernel's starts when this
    /// one's ends, and its ring fills while it waits for `x`. Were it there earlier, the ring would be full before the memory falls idle.
    /// Rows of `x` that leave no room for a ring are read where they are, through the first-level cache.
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
        let enough = 4
        func stages(_ bytes: Int) -> Int { min(8, (device.sharedBytesPerBlock - fixed - bytes) / stage) }

        if stages(staged) >= enough {
            (parameters.stages, parameters.staged) = (Int32(stages(staged)), 1)
        } else if isNormed {
            return nil
        } else {
            (parameters.stages, parameters.staged) = (Int32(max(2, stages(0))), 0)
        }
        sharedBytes = fixed + Int(parameters.stages) * stage + (parameters.staged == 1 ? staged : 0)
        // Measured on an H100: the next kernel's blocks are then at hand when the first of this one's end.
        parameters.remaining_at_next = 8
        parameters.staged_pitch = Int32(pitch)
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
