import CCUDA
package import Tensors

extension CUDABackend {
    /// Zeroed device memory.
    ///
    /// - Throws: ``CUDAError`` of kind `outOfMemory` with what is free.
    package func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer {
        try refuseWhileRecording("allocate")
        let buffer = try CUDABuffer(context, byteCount: byteCount, purpose: purpose)
        if byteCount > 0 { try check(cuda.api.pointee.cuMemsetD8Async(buffer.pointer, 0, byteCount, stream), "cuMemsetD8Async") }
        return buffer
    }

    /// The bytes are copied before the call returns, to the device soon after.
    package func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
        guard tensor.isContiguous, bytes.count == tensor.byteCount else {
            throw TensorError(
                .shapeMismatch, operation: "upload",
                detail: "\(bytes.count) bytes for a tensor \(tensor.shape) of \(tensor.dtype), which needs \(tensor.byteCount)")
        }
        try refuseWhileRecording("upload")
        guard let source = bytes.baseAddress else { return }
        context.makeCurrent()
        var offset = 0
        while offset < bytes.count {
            let room = try staging.room(for: bytes.count - offset)
            guard let base = room.baseAddress else { return }
            base.copyMemory(from: source + offset, byteCount: room.count)
            try check(
                cuda.api.pointee.cuMemcpyHtoDAsync_v2(tensor.pointer + offset, base, room.count, stream), "cuMemcpyHtoDAsync")
            offset += room.count
        }
    }

    package func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
        guard tensor.isContiguous, bytes.count == tensor.byteCount else {
            throw TensorError(
                .shapeMismatch, operation: "download",
                detail: "a tensor \(tensor.shape) of \(tensor.dtype) needs \(tensor.byteCount) bytes, \(bytes.count) were given")
        }
        try refuseWhileRecording("download")
        guard let destination = bytes.baseAddress else { return }
        context.makeCurrent()
        var offset = 0
        while offset < bytes.count {
            let room = try staging.room(for: bytes.count - offset)
            guard let base = room.baseAddress else { return }
            try check(
                cuda.api.pointee.cuMemcpyDtoHAsync_v2(base, tensor.pointer + offset, room.count, stream), "cuMemcpyDtoHAsync")
            try synchronize()
            (destination + offset).copyMemory(from: base, byteCount: room.count)
            offset += room.count
        }
    }

    package func copy(_ source: Tensor, into out: Tensor) throws {
        guard source.shape == out.shape, source.dtype == out.dtype else {
            throw TensorError(
                .shapeMismatch, operation: "copy",
                detail: "from \(source.shape) of \(source.dtype) into \(out.shape) of \(out.dtype)")
        }
        let size = source.dtype.size
        guard source.count > 0 else { return }
        context.makeCurrent()
        if source.isContiguous, out.isContiguous {
            try check(
                cuda.api.pointee.cuMemcpyDtoDAsync_v2(out.pointer, source.pointer, source.byteCount, stream),
                "cuMemcpyDtoDAsync")
            return
        }
        var copy = vlm_cu_copy_2d()
        copy.source_type = UInt32(VLM_CU_MEMORY_DEVICE)
        copy.source_device = UnsafeRawPointer(source.pointer)
        copy.source_pitch = source.rowStride * size
        copy.type = UInt32(VLM_CU_MEMORY_DEVICE)
        copy.device = out.pointer
        copy.pitch = out.rowStride * size
        copy.width = source.width * size
        copy.height = source.rows
        try check(cuda.api.pointee.cuMemcpy2DAsync_v2(&copy, stream), "cuMemcpy2DAsync")
    }

    package func synchronize() throws {
        try refuseWhileRecording("synchronize")
        context.makeCurrent()
        try check(cuda.api.pointee.cuStreamSynchronize(stream), "cuStreamSynchronize")
    }

    func refuseWhileRecording(_ operation: String) throws {
        guard isRecording else { return }
        throw TensorError(.unsupported, operation: operation, detail: "not while work is being recorded")
    }
}
