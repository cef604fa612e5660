import CCUDA
import Synchronization
import Tensors

/// A device's context and stream, and the memory on it. Outlives everything that lies on the device.
///
/// Work is submitted by the one thread that owns the backend; memory and events may be given back from any.
final class DeviceContext: @unchecked Sendable {
    let cuda: CUDADriver
    let properties: DeviceProperties
    let device: Int32
    private let context: OpaquePointer
    /// The stream that all operations go to.
    let stream: OpaquePointer

    /// What lies on the device, by purpose.
    let ledger = MemoryLedger()

    private struct State: ~Copyable {
        /// Freed while a recording was going on, when nothing may be freed.
        var waiting: [UInt] = []
        var isRecording = false
        /// Addresses of events that nobody uses.
        var events: [UInt] = []
    }
    private let state = Mutex(State())

    init(_ cuda: CUDADriver, device: Int32, properties: DeviceProperties) throws {
        self.cuda = cuda
        self.device = device
        self.properties = properties
        var retained: OpaquePointer?
        try cuda.check(cuda.api.pointee.cuDevicePrimaryCtxRetain(&retained, device), "cuDevicePrimaryCtxRetain")
        guard let retained else { throw cuda.error(Int32(VLM_CU_INVALID_VALUE), call: "cuDevicePrimaryCtxRetain") }
        var created: OpaquePointer?
        do {
            try cuda.check(cuda.api.pointee.cuCtxSetCurrent(retained), "cuCtxSetCurrent")
            try cuda.check(cuda.api.pointee.cuStreamCreate(&created, UInt32(VLM_CU_STREAM_NON_BLOCKING)), "cuStreamCreate")
        } catch {
            _ = cuda.api.pointee.cuDevicePrimaryCtxRelease_v2(device)
            throw error
        }
        guard let created else { throw cuda.error(Int32(VLM_CU_INVALID_VALUE), call: "cuStreamCreate") }
        context = retained
        stream = created
        if properties.hasMemoryPools {
            // Memory that is used again and again need not go back to the system at each wait.
            var pool: OpaquePointer?
            var threshold = UInt64(1) << 30
            if cuda.api.pointee.cuDeviceGetDefaultMemPool(&pool, device) == 0 {
                _ = cuda.api.pointee.cuMemPoolSetAttribute(pool, Int32(VLM_CU_POOL_RELEASE_THRESHOLD), &threshold)
            }
        }
    }

    deinit {
        makeCurrent()
        _ = cuda.api.pointee.cuStreamSynchronize(stream)
        for event in state.withLock({ $0.events }) { _ = cuda.api.pointee.cuEventDestroy_v2(OpaquePointer(bitPattern: event)) }
        _ = cuda.api.pointee.cuStreamDestroy_v2(stream)
        _ = cuda.api.pointee.cuDevicePrimaryCtxRelease_v2(device)
    }

    /// Makes the context that of the calling thread. The engine's queue changes threads, so every entry does this; it takes nanoseconds.
    @inline(__always)
    func makeCurrent() { _ = cuda.api.pointee.cuCtxSetCurrent(context) }

    // MARK: Memory

    /// Uninitialised memory, usable by work submitted from now on.
    ///
    /// - Parameter stream: the stream of that work, nil for the context's own.
    func allocate(byteCount: Int, purpose: String, stream: OpaquePointer? = nil) throws -> UnsafeMutableRawPointer {
        makeCurrent()
        var pointer: UnsafeMutableRawPointer?
        let bytes = max(byteCount, 1)
        func attempt() -> Int32 {
            properties.hasMemoryPools
                ? cuda.api.pointee.cuMemAllocAsync(&pointer, bytes, stream ?? self.stream)
                : cuda.api.pointee.cuMemAlloc_v2(&pointer, bytes)
        }
        var status = attempt()
        if Int(status) == VLM_CU_OUT_OF_MEMORY, properties.hasMemoryPools {
            // What the pool holds in pieces of other sizes may be enough once it is whole again.
            var pool: OpaquePointer?
            let isTrimmed =
                cuda.api.pointee.cuStreamSynchronize(self.stream) == 0
                && cuda.api.pointee.cuDeviceGetDefaultMemPool(&pool, device) == 0
                && cuda.api.pointee.cuMemPoolTrimTo(pool, 0) == 0
            if isTrimmed { status = attempt() }
        }
        if status == 0, let pointer { return pointer }
        let failure = cuda.error(status, call: properties.hasMemoryPools ? "cuMemAllocAsync" : "cuMemAlloc")
        guard failure.kind == .outOfMemory else { throw failure }
        throw CUDAError(
            .outOfMemory, call: failure.call, status: failure.status,
            detail:
                "\(DeviceContext.size(byteCount)) for \(purpose) on \(properties.name), which has \(DeviceContext.size((try? freeBytes()) ?? 0)) free of \(DeviceContext.size(properties.totalBytes))",
            hint: failure.hint)
    }

    /// Gives memory back once the work submitted so far is done with it.
    func free(_ pointer: UnsafeMutableRawPointer) {
        let address = UInt(bitPattern: pointer)
        // Under the lock, so that no recording begins between the question and the call.
        state.withLock { state in
            if state.isRecording { state.waiting.append(address) } else { release(address) }
        }
    }

    private func release(_ address: UInt) {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: address) else { return }
        free(pointer, stream: stream)
    }

    /// Gives memory back once the work of a stream is done with it.
    func free(_ pointer: UnsafeMutableRawPointer, stream: OpaquePointer) {
        makeCurrent()
        _ = properties.hasMemoryPools ? cuda.api.pointee.cuMemFreeAsync(pointer, stream) : cuda.api.pointee.cuMemFree_v2(pointer)
    }

    /// Bytes that could be allocated now: what no process uses, and what this one's pool holds unused.
    func freeBytes() throws -> Int {
        makeCurrent()
        var (free, total) = (0, 0)
        try cuda.check(cuda.api.pointee.cuMemGetInfo_v2(&free, &total), "cuMemGetInfo")
        var pool: OpaquePointer?
        guard properties.hasMemoryPools, cuda.api.pointee.cuDeviceGetDefaultMemPool(&pool, device) == 0 else { return free }
        var (reserved, used): (UInt64, UInt64) = (0, 0)
        guard cuda.api.pointee.cuMemPoolGetAttribute(pool, Int32(VLM_CU_POOL_RESERVED_CURRENT), &reserved) == 0,
            cuda.api.pointee.cuMemPoolGetAttribute(pool, Int32(VLM_CU_POOL_USED_CURRENT), &used) == 0, reserved > used
        else { return free }
        return free + Int(reserved - used)
    }

    static func size(_ bytes: Int) -> String {
        if bytes < 1 << 20 { return "\(bytes) bytes" }
        if bytes < 1 << 30 { return "\(bytes >> 20) MB" }
        let tenths = bytes / ((1 << 30) / 10)
        return "\(tenths / 10).\(tenths % 10) GB"
    }

    // MARK: Recording

    /// From here on memory that is given back waits. Call before the stream is captured.
    func beginRecording() { state.withLock { $0.isRecording = true } }

    /// Runs driver calls that may load code, which a recording on this thread would otherwise forbid. They do not become part of it.
    func whileRecordingToo(_ body: () -> Int32) -> Int32 {
        makeCurrent()
        var mode = Int32(VLM_CU_CAPTURE_RELAXED)
        _ = cuda.api.pointee.cuThreadExchangeStreamCaptureMode(&mode)
        defer { _ = cuda.api.pointee.cuThreadExchangeStreamCaptureMode(&mode) }
        return body()
    }

    /// Frees what was given back meanwhile.
    func endRecording() {
        let waiting = state.withLock { state in
            state.isRecording = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for address in waiting { release(address) }
    }

    // MARK: Events

    /// An event that sleeps rather than spins when waited for.
    func takeEvent() throws -> OpaquePointer {
        if let event = state.withLock({ $0.events.popLast() }), let event = OpaquePointer(bitPattern: event) { return event }
        makeCurrent()
        var event: OpaquePointer?
        try cuda.check(cuda.api.pointee.cuEventCreate(&event, UInt32(VLM_CU_EVENT_BLOCKING_SYNC)), "cuEventCreate")
        guard let event else { throw cuda.error(Int32(VLM_CU_INVALID_VALUE), call: "cuEventCreate") }
        return event
    }

    func giveBack(event: OpaquePointer) {
        let address = UInt(bitPattern: event)
        state.withLock { $0.events.append(address) }
    }
}

/// Device memory that is freed in stream order when its last user lets go.
final class CUDABuffer: DeviceBuffer {
    let pointer: UnsafeMutableRawPointer
    let byteCount: Int
    private let context: DeviceContext
    /// What it counts as in the ledger.
    private let account: String

    /// Uninitialised.
    ///
    /// - Parameters:
    ///   - purpose: named in errors.
    ///   - account: what it counts as in the device's ledger, nil for the purpose.
    init(_ context: DeviceContext, byteCount: Int, purpose: String, account: String? = nil) throws {
        pointer = try context.allocate(byteCount: byteCount, purpose: purpose)
        self.byteCount = byteCount
        self.context = context
        self.account = account ?? purpose
        context.ledger.add(byteCount, for: self.account)
    }

    deinit {
        context.free(pointer)
        context.ledger.remove(byteCount, for: account)
    }
}
