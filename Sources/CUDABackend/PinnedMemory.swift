import CCUDA
import Tensors

/// Host memory that the device reads and writes without the driver copying it on the way.
final class PinnedMemory: @unchecked Sendable {  // its users agree on who writes where
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int
    private let context: DeviceContext

    init(_ context: DeviceContext, byteCount: Int) throws {
        context.makeCurrent()
        var pointer: UnsafeMutableRawPointer?
        let flags = UInt32(VLM_CU_HOST_PORTABLE | VLM_CU_HOST_DEVICE_MAP)
        let status = context.cuda.api.pointee.cuMemHostAlloc(&pointer, max(byteCount, 1), flags)
        guard status == 0, let pointer else {
            let failure = context.cuda.error(status, call: "cuMemHostAlloc")
            throw CUDAError(
                failure.kind, call: failure.call, status: failure.status,
                detail: "\(DeviceContext.size(byteCount)) of host memory for transfers: \(failure.detail)",
                hint: "Free host memory, or raise the limit of locked memory (ulimit -l)")
        }
        self.pointer = pointer
        self.byteCount = byteCount
        self.context = context
    }

    deinit {
        context.makeCurrent()
        _ = context.cuda.api.pointee.cuMemFreeHost(pointer)
    }

    /// The address that kernels use for this memory.
    func devicePointer() throws -> UnsafeMutableRawPointer {
        context.makeCurrent()
        var address: UnsafeMutableRawPointer?
        try context.cuda.check(
            context.cuda.api.pointee.cuMemHostGetDevicePointer_v2(&address, pointer, 0), "cuMemHostGetDevicePointer")
        return address ?? pointer
    }
}

/// Pinned memory that uploads pass through, so that callers may reuse theirs at once.
///
/// Four segments are filled in turn; before one is filled again, the copies out of it have to be done.
final class StagingRing {
    static let segmentBytes = 4 << 20
    private static let segments = 4

    private let context: DeviceContext
    private var memory: PinnedMemory?
    /// Recorded behind the last copy out of each segment.
    private var events: [OpaquePointer?] = Array(repeating: nil, count: segments)
    private var segment = 0
    private var used = 0

    init(_ context: DeviceContext) { self.context = context }

    deinit {
        for case let event? in events {
            _ = context.cuda.api.pointee.cuEventSynchronize(event)
            context.giveBack(event: event)
        }
    }

    /// Room for up to `byteCount` bytes, at most ``segmentBytes``.
    func room(for byteCount: Int) throws -> UnsafeMutableRawBufferPointer {
        let memory = try self.memory ?? PinnedMemory(context, byteCount: StagingRing.segments * StagingRing.segmentBytes)
        self.memory = memory
        let wanted = min(byteCount, StagingRing.segmentBytes)
        if used + wanted > StagingRing.segmentBytes { try advance() }
        let start = memory.pointer + segment * StagingRing.segmentBytes + used
        used += (wanted + 255) / 256 * 256
        return UnsafeMutableRawBufferPointer(start: start, count: wanted)
    }

    private func advance() throws {
        let cuda = context.cuda
        let event = try events[segment] ?? context.takeEvent()
        events[segment] = event
        try cuda.check(cuda.api.pointee.cuEventRecord(event, context.stream), "cuEventRecord")
        segment = (segment + 1) % StagingRing.segments
        used = 0
        if let event = events[segment] { try cuda.check(cuda.api.pointee.cuEventSynchronize(event), "cuEventSynchronize") }
    }
}
