import CCUDA
package import Tensors

/// A CUDA graph of recorded work.
private final class CUDAGraph: RecordedWork {
    let executable: OpaquePointer
    let context: DeviceContext
    /// A buffer that recorded kernels use may not be freed before the graph; the stream's order takes care of runs under way.
    init(_ executable: OpaquePointer, context: DeviceContext) {
        self.executable = executable
        self.context = context
    }

    deinit {
        context.makeCurrent()
        _ = context.cuda.api.pointee.cuGraphExecDestroy(executable)
    }
}

/// An event in the stream.
private final class CUDAMark: StreamMark {
    let event: OpaquePointer
    let context: DeviceContext
    /// The kernels before the mark, for errors.
    let recent: () -> [String]

    init(_ event: OpaquePointer, context: DeviceContext, recent: @escaping () -> [String]) {
        self.event = event
        self.context = context
        self.recent = recent
    }

    deinit { context.giveBack(event: event) }

    /// Spins for a moment, which a step that is nearly done needs, then sleeps.
    func wait() throws {
        context.makeCurrent()
        let api = context.cuda.api
        for _ in 0..<64 {
            let status = api.pointee.cuEventQuery(event)
            if status == 0 { return }
            guard Int(status) == VLM_CU_NOT_READY else {
                throw context.cuda.error(status, call: "cuEventQuery", recent: recent())
            }
        }
        let status = api.pointee.cuEventSynchronize(event)
        guard status == 0 else { throw context.cuda.error(status, call: "cuEventSynchronize", recent: recent()) }
    }

    func seconds(since earlier: any StreamMark) throws -> Double {
        guard let earlier = earlier as? CUDAMark, earlier.context === context else {
            throw TensorError(.unsupported, operation: "mark", detail: "the marks are of different backends")
        }
        try wait()
        var milliseconds: Float = 0
        let status = context.cuda.api.pointee.cuEventElapsedTime(&milliseconds, earlier.event, event)
        guard status == 0 else { throw context.cuda.error(status, call: "cuEventElapsedTime", recent: recent()) }
        return Double(milliseconds) / 1000
    }
}

extension CUDABackend {
    /// Not while each kernel is waited for or measured: a recording is one piece to the device.
    package var recordsWork: Bool { !options.isSynchronous && profile == nil }

    package func record(_ body: () throws -> Void) throws -> any RecordedWork {
        try refuseWhileRecording("record")
        try settle()
        context.makeCurrent()
        // Other threads may go on allocating; this one must not.
        context.beginRecording()
        let begun = cuda.api.pointee.cuStreamBeginCapture_v2(stream, Int32(VLM_CU_CAPTURE_THREAD_LOCAL))
        guard begun == 0 else {
            context.endRecording()
            throw cuda.error(begun, call: "cuStreamBeginCapture", recent: recentKernels())
        }
        isRecording = true
        let result = Result { try body() }
        isRecording = false
        var graph: OpaquePointer?
        let status = cuda.api.pointee.cuStreamEndCapture(stream, &graph)
        context.endRecording()
        defer { if let graph { _ = cuda.api.pointee.cuGraphDestroy(graph) } }
        // What went wrong inside says more than that the capture is therefore invalid.
        try result.get()
        try check(status, "cuStreamEndCapture")
        var executable: OpaquePointer?
        try check(cuda.api.pointee.cuGraphInstantiateWithFlags(&executable, graph, 0), "cuGraphInstantiateWithFlags")
        guard let executable else { throw cuda.error(Int32(VLM_CU_INVALID_VALUE), call: "cuGraphInstantiateWithFlags") }
        let work = CUDAGraph(executable, context: context)
        try check(cuda.api.pointee.cuGraphUpload(executable, stream), "cuGraphUpload")
        return work
    }

    package func replay(_ work: any RecordedWork) throws {
        guard let graph = work as? CUDAGraph, graph.context === context else {
            throw TensorError(.unsupported, operation: "replay", detail: "the work was recorded on another backend")
        }
        try refuseWhileRecording("replay")
        try settle()
        context.makeCurrent()
        try check(cuda.api.pointee.cuGraphLaunch(graph.executable, stream), "cuGraphLaunch")
        if options.isSynchronous { try check(cuda.api.pointee.cuStreamSynchronize(stream), "cuStreamSynchronize (replay)") }
    }

    package func mark() throws -> any StreamMark {
        try refuseWhileRecording("mark")
        let event = try context.takeEvent()
        context.makeCurrent()
        let status = cuda.api.pointee.cuEventRecord(event, stream)
        guard status == 0 else {
            context.giveBack(event: event)
            throw cuda.error(status, call: "cuEventRecord", recent: recentKernels())
        }
        return CUDAMark(event, context: context) { [weak self] in self?.recentKernels() ?? [] }
    }
}
