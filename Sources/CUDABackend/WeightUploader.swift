import CCUDA
import CCUDAKernels
import Foundation
import Tensors

/// Brings weights to the device with several reads and copies under way at once.
///
/// Tensors are cut into chunks. A few threads each take one, copy it from the mapped file (or wherever it lies) to pinned memory, send
/// it on and start the kernel that places it; while that runs they fill their second buffer. A checkpoint in the page cache
/// thus arrives at about the speed of the bus, and one on a disk with as many reads in flight as there are threads.
final class WeightUploader {
    static let chunkBytes = 8 << 20
    /// Chunks that may wait, so that progress told to users is real and host memory bounded.
    private static let queueLimit = 32

    /// One piece of work for a thread.
    struct Chunk: @unchecked Sendable {  // handed from the backend's thread to one worker
        let tensor: HostTensor
        /// Bytes of the tensor.
        let range: Range<Int>
        /// What to do when the bytes are on the device; `source` is filled in. Nil copies them to `destination` as they are.
        let place: vlm_cuda_place?
        let inEights: Bool
        let destination: UnsafeMutableRawPointer
        /// The destination may be written after this.
        let ready: EventHandle
    }

    /// An event that goes back to its context when nobody needs it.
    final class EventHandle: @unchecked Sendable {  // immutable
        let event: OpaquePointer
        private let context: DeviceContext

        init(_ context: DeviceContext) throws {
            event = try context.takeEvent()
            self.context = context
        }

        deinit { context.giveBack(event: event) }
    }

    private let context: DeviceContext
    private let shared: Shared
    /// Memory being written: kept until all is done, even when its weight is dropped.
    private var owners: [any DeviceBuffer] = []

    /// - Parameters:
    ///   - eights, single: the functions `place_rows_of_eights` and `place_rows`.
    ///   - threads: how many read at once.
    init(_ context: DeviceContext, eights: Kernel, single: Kernel, threads: Int) {
        self.context = context
        shared = Shared(context: context, eights: eights.handle, single: single.handle, running: threads)
        for _ in 0..<threads {
            let thread = Thread { [shared] in shared.work() }
            thread.name = "vlm.weights"
            thread.start()
        }
    }

    deinit { _ = try? finish() }

    /// Queues the bytes of a tensor for placement; `owner` is kept until ``finish()``.
    ///
    /// - Parameter place: with `first` and `count` of the whole tensor; nil for bytes that stay as they are.
    /// - Throws: the first error of any thread so far.
    func add(_ tensor: HostTensor, place: vlm_cuda_place?, to destination: UnsafeMutableRawPointer, owner: any DeviceBuffer)
        throws
    {
        owners.append(owner)
        let ready = try EventHandle(context)
        try context.cuda.check(context.cuda.api.pointee.cuEventRecord(ready.event, context.stream), "cuEventRecord")
        let size = tensor.dtype.size
        var offset = 0
        while offset < tensor.byteCount {
            let range = offset..<min(offset + WeightUploader.chunkBytes, tensor.byteCount)
            var part = place
            part?.first = UInt64(range.lowerBound / size)
            part?.count = UInt64(range.count / size)
            // A chunk is whole eights, so only the columns and the tensor's last elements decide.
            let inEights = part.map { $0.columns % 8 == 0 } ?? false
            try shared.append(
                Chunk(
                    tensor: tensor, range: range, place: part, inEights: inEights, destination: destination + offset,
                    ready: ready), limit: WeightUploader.queueLimit)
            offset = range.upperBound
        }
    }

    /// Waits for everything; nothing may be added after.
    func finish() throws {
        shared.close()
        owners = []
        if let failure = shared.failure { throw failure }
    }

    /// What threads share.
    private final class Shared: @unchecked Sendable {  // everything that changes is guarded by `condition`
        private let context: DeviceContext
        private let eights: OpaquePointer
        private let single: OpaquePointer
        private let condition = NSCondition()
        private var queue: [Chunk] = []
        private var next = 0
        private var isClosed = false
        private var running: Int
        private var firstFailure: (any Error)?

        init(context: DeviceContext, eights: OpaquePointer, single: OpaquePointer, running: Int) {
            self.context = context
            self.eights = eights
            self.single = single
            self.running = running
        }

        private func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
            condition.lock()
            defer { condition.unlock() }
            return try body()
        }

        var failure: (any Error)? { locked { firstFailure } }

        func append(_ chunk: Chunk, limit: Int) throws {
            try locked {
                while queue.count - next >= limit, firstFailure == nil { condition.wait() }
                if let firstFailure { throw firstFailure }
                queue.append(chunk)
                condition.broadcast()
            }
        }

        func close() {
            locked {
                isClosed = true
                condition.broadcast()
                while running > 0 { condition.wait() }
            }
        }

        private func take() -> Chunk? {
            locked {
                while next == queue.count, !isClosed { condition.wait() }
                guard next < queue.count else { return nil }
                defer {
                    next += 1
                    // Finished chunks hold tensors alive.
                    if next == queue.count { (queue, next) = ([], 0) }
                    condition.broadcast()
                }
                return queue[next]
            }
        }

        private func fail(_ error: any Error) {
            locked {
                firstFailure = firstFailure ?? error
                condition.broadcast()
            }
        }

        /// What a thread does until the queue is closed and empty.
        func work() {
            do {
                let worker = try Worker(context, eights: eights, single: single)
                while let chunk = take() {
                    if failure == nil { try worker.send(chunk) }
                }
                try worker.wait()
            } catch {
                fail(error)
                while take() != nil {}
            }
            locked {
                running -= 1
                condition.broadcast()
            }
        }
    }

    /// One thread's stream and its two pairs of buffers.
    private final class Worker {
        private struct Slot {
            let pinned: PinnedMemory
            let device: UnsafeMutableRawPointer
            let event: EventHandle
        }

        private let context: DeviceContext
        private let eights: OpaquePointer
        private let single: OpaquePointer
        private let stream: OpaquePointer
        private var slots: [Slot] = []
        private var turn = 0

        init(_ context: DeviceContext, eights: OpaquePointer, single: OpaquePointer) throws {
            self.context = context
            self.eights = eights
            self.single = single
            context.makeCurrent()
            var stream: OpaquePointer?
            try context.cuda.check(
                context.cuda.api.pointee.cuStreamCreate(&stream, UInt32(VLM_CU_STREAM_NON_BLOCKING)), "cuStreamCreate")
            guard let stream else { throw context.cuda.error(Int32(VLM_CU_INVALID_VALUE), call: "cuStreamCreate") }
            self.stream = stream
        }

        deinit {
            _ = context.cuda.api.pointee.cuStreamSynchronize(stream)
            for slot in slots { context.free(slot.device, stream: stream) }
            _ = context.cuda.api.pointee.cuStreamDestroy_v2(stream)
        }

        func wait() throws {
            try context.cuda.check(context.cuda.api.pointee.cuStreamSynchronize(stream), "cuStreamSynchronize (weights)")
        }

        private func slot() throws -> Slot {
            defer { turn += 1 }
            if turn < 2 {
                let slot = Slot(
                    pinned: try PinnedMemory(context, byteCount: WeightUploader.chunkBytes),
                    device: try context.allocate(
                        byteCount: WeightUploader.chunkBytes, purpose: "weights on their way", stream: stream),
                    event: try EventHandle(context))
                slots.append(slot)
                return slot
            }
            let slot = slots[turn % 2]
            try context.cuda.check(context.cuda.api.pointee.cuEventSynchronize(slot.event.event), "cuEventSynchronize (weights)")
            return slot
        }

        func send(_ chunk: Chunk) throws {
            let cuda = context.cuda
            let slot = try slot()
            let bytes = chunk.range.count
            chunk.tensor.withBytes { source in
                guard let base = source.baseAddress else { return }
                slot.pinned.pointer.copyMemory(from: base + chunk.range.lowerBound, byteCount: bytes)
            }
            try cuda.check(cuda.api.pointee.cuStreamWaitEvent(stream, chunk.ready.event, 0), "cuStreamWaitEvent")
            let target = chunk.place == nil ? chunk.destination : slot.device
            try cuda.check(
                cuda.api.pointee.cuMemcpyHtoDAsync_v2(target, slot.pinned.pointer, bytes, stream), "cuMemcpyHtoDAsync")
            if var place = chunk.place {
                place.source = UnsafeRawPointer(slot.device)
                let perBlock = chunk.inEights ? 2048 : 256
                let blocks = min((Int(place.count) + perBlock - 1) / perBlock, 4096)
                let shape = vlm_cuda_launch_shape(
                    grid_x: UInt32(blocks), grid_y: 1, grid_z: 1, block: 256, shared_bytes: 0, cluster: 1, overlaps: false)
                let status = withUnsafePointer(to: place) {
                    vlm_cuda_launch(
                        cuda.api, chunk.inEights ? eights : single, shape, stream, $0, MemoryLayout<vlm_cuda_place>.size)
                }
                guard status == 0 else {
                    throw cuda.error(status, call: "cuLaunchKernelEx", kernel: "placing \(chunk.tensor.name)")
                }
            }
            try cuda.check(cuda.api.pointee.cuEventRecord(slot.event.event, stream), "cuEventRecord")
        }
    }
}
