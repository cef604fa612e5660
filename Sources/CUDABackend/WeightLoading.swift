import CCUDA
import CCUDAKernels
import Foundation
import Tensors

/// The loading that is going on: its threads, and where the device notes elements that are not finite.
final class WeightLoading {
    /// Tensors whose elements can be looked at between two waits.
    static let capacity = 1 << 16

    let uploader: WeightUploader
    /// `[capacity]` uint64 on the device: each tensor's first element that is not finite, all ones for none.
    private let notes: CUDABuffer
    private var names: [String] = []

    init(_ backend: CUDABackend) throws {
        let eights = try backend.kernel(.load, "place_rows_of_eights", element: .float32)
        let single = try backend.kernel(.load, "place_rows", element: .float32)
        let context = backend.context
        notes = try CUDABuffer(context, byteCount: WeightLoading.capacity * 8, purpose: "notes about weights")
        try context.cuda.check(
            context.cuda.api.pointee.cuMemsetD8Async(notes.pointer, 0xFF, notes.byteCount, context.stream), "cuMemsetD8Async")
        uploader = WeightUploader(
            context, eights: eights, single: single, threads: min(8, max(2, ProcessInfo.processInfo.activeProcessorCount)))
    }

    var isFull: Bool { names.count == WeightLoading.capacity }

    /// Where the kernel notes the first element of `name` that is not finite; the same place when a tensor is copied twice in a row.
    func note(for name: String) -> UnsafeMutablePointer<UInt64> {
        if names.last != name { names.append(name) }
        return (notes.pointer + (names.count - 1) * 8).assumingMemoryBound(to: UInt64.self)
    }

    /// Waits for the threads and reads the notes.
    func finish(_ backend: CUDABackend) throws -> [NonFiniteTensor] {
        try uploader.finish()
        guard !names.isEmpty else { return [] }
        var positions = [Int64](repeating: 0, count: names.count)
        try positions.withUnsafeMutableBytes {
            try backend.download(Tensor(pointer: notes.pointer, dtype: .int64, shape: Shape(names.count)), into: $0)
        }
        return zip(names, positions).compactMap { name, position in
            position < 0 ? nil : NonFiniteTensor(name: name, position: Int(position))
        }
    }
}
