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
        guard bytes.count == tensor.byteCount else {
            throw TensorError(
                .shapeMismatch, operation: "download",
                detail: "a tensor \(tensor.shape) of \(tensor.dtype) needs \(tensor.byteCount) bytes, \(bytes.count) were given")
        }
        try refuseWhileRecording("download")
        try settle()
        guard let destination = bytes.baseAddress else { return }
        context.makeCurrent()
        // What lies together on the device: everything, or a row.
        let pieceBytes = tensor.isContiguous ? bytes.count : tensor.width * tensor.dtype.size
        let pitch = tensor.isContiguous ? 0 : tensor.rowStride * tensor.dtype.size
        var offset = 0
        while offset < bytes.count {
            let room = try staging.room(for: bytes.count - offset)
            guard let base = room.baseAddress else { return }
            var filled = 0
            while filled < room.count {
                let (piece, inside) = (offset + filled).quotientAndRemainder(dividingBy: pieceBytes)
                let count = min(room.count - filled, pieceBytes - inside)
                try check(
                    cuda.api.pointee.cuMemcpyDtoHAsync_v2(
                        base + filled, tensor.pointer + piece * pitch + inside, count, stream), "cuMemcpyDtoHAsync")
                filled += count
            }
            try synchronize()
            (destination + offset).copyMemory(from: base, byteCount: room.count)
            offset += room.count
        }
    }

    package func synchronize() throws {
        try refuseWhileRecording("synchronize")
        try settle()
        context.makeCurrent()
        try check(cuda.api.pointee.cuStreamSynchronize(stream), "cuStreamSynchronize")
    }

    func refuseWhileRecording(_ operation: String) throws {
        guard isRecording else { return }
        throw TensorError(.unsupported, operation: operation, detail: "not while work is being recorded")
    }
}
