import CCUDAKernels
import Tensors

/// What a GPU was measured to do: the limits that kernels are compared with.
package struct DeviceCeilings: Sendable {
    /// Bytes read per second from memory that is far larger than the cache.
    package let readBandwidth: Double
    /// Bytes read and written per second by a copy.
    package let copyBandwidth: Double
    /// Floating-point operations per second of a product of two matrices of 8192 x 8192 in the backend's type.
    package let operations: Double
    /// Seconds from one small kernel to the next, launched one by one and in a recorded sequence.
    package let launch: Double
    package let recordedLaunch: Double
}

extension CUDABackend {
    /// Measures the device; takes about a second and 4 GB, or what is free.
    ///
    /// - Throws: ``CUDAError`` when there is no memory for it.
    package func ceilings() throws -> DeviceCeilings {
        let bytes = min(2 << 30, max(64 << 20, try freeBytes() / 4)) / 256 * 256
        let (read, copied) = try bandwidths(byteCount: bytes)
        let size = 8192
        let product = try measureLinear(rows: size, inFeatures: size, outFeatures: size)
        let (launch, recorded) = try launchSeconds()
        return DeviceCeilings(
            readBandwidth: read, copyBandwidth: copied, operations: Double(product.operations) / product.seconds, launch: launch,
            recordedLaunch: recorded)
    }

    private func bandwidths(byteCount: Int) throws -> (read: Double, copied: Double) {
        let buffer = try allocate(byteCount: 2 * byteCount, purpose: "bandwidth measurement")
        let result = try allocate(byteCount: 256, purpose: "bandwidth measurement")
        let parameters = vlm_cuda_read(
            data: UnsafeRawPointer(buffer.pointer), result: result.pointer.assumingMemoryBound(to: UInt32.self),
            count: Int64(2 * byteCount / 16))
        let kernel = try kernel(.measure, "read_memory", element: .float32)
        // Few blocks that stay or many that read little: which is faster differs from GPU to GPU.
        let read =
            try [properties.multiprocessors * 4, properties.multiprocessors * 64, 2 * byteCount / 16 / 512 / 8].map { blocks in
                try medianSeconds(repeats: 7) { try launch(kernel, Grid(max(blocks, 1)), block: 512, parameters) }
            }.min() ?? .infinity
        let half = Tensor(pointer: buffer.pointer, dtype: .uint8, shape: Shape(1, byteCount))
        let other = Tensor(pointer: buffer.pointer + byteCount, dtype: .uint8, shape: Shape(1, byteCount))
        let copied = try medianSeconds(repeats: 7) { try copy(half, into: other) }
        return (Double(2 * byteCount) / read, Double(2 * byteCount) / copied)
    }

    private func launchSeconds() throws -> (launch: Double, recorded: Double) {
        let count = 500
        let buffer = try allocate(byteCount: 256, purpose: "launch measurement")
        let x = Tensor(pointer: buffer.pointer, dtype: activationType, shape: Shape(1, 8))
        func many() throws { for _ in 0..<count { try scale(x, by: 1) } }
        let launched = try medianSeconds(repeats: 5, many)
        let work = try record(many)
        let recorded = try medianSeconds(repeats: 5) { try replay(work) }
        return (launched / Double(count), recorded / Double(count))
    }
}
