/// A backend that computes nothing: it gives out addresses that are never touched and counts the bytes asked for.
///
/// Running a model's forward pass on it with the largest batch allowed tells what the pass needs, before anything large is allocated.
package final class PlanningBackend: Backend {
    package let device: Device
    package let activationType: DType
    package let cacheType: DType
    /// Bytes asked for by ``allocate(byteCount:purpose:)``, by purpose.
    package private(set) var allocated: [String: Int] = [:]

    /// Stands in for a backend with these properties.
    package init(device: Device, activationType: DType, cacheType: DType) {
        self.device = device
        self.activationType = activationType
        self.cacheType = cacheType
    }

    private final class Nothing: DeviceBuffer {
        let pointer: UnsafeMutableRawPointer
        let byteCount: Int

        init(pointer: UnsafeMutableRawPointer, byteCount: Int) {
            self.pointer = pointer
            self.byteCount = byteCount
        }
    }

    /// An address that no process maps; arithmetic on it is fine, a read would fault at once.
    private static let unmapped: UInt = 0x1000

    package func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: PlanningBackend.unmapped) else {
            throw TensorError(.deviceFailure, operation: "plan", detail: "no address to plan with")
        }
        allocated[purpose, default: 0] += byteCount
        return Nothing(pointer: pointer, byteCount: byteCount)
    }

    package func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {}
    package func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {}
    package func copy(_ source: Tensor, into out: Tensor) throws {}
    package func synchronize() throws {}

    package func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight {
        throw TensorError(.unsupported, operation: "plan", detail: "a planning backend shares the weights of the real one")
    }
    package func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        throw TensorError(.unsupported, operation: "plan", detail: "a planning backend shares the weights of the real one")
    }

    package func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {}
    package func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws {}
    package func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {}
    package func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws {}
    package func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {}
    package func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws {}
    package func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions, into out: Tensor
    ) throws {}
    package func gatherRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {}
    package func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws {}
    package func add(_ x: Tensor, into out: Tensor) throws {}
    package func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {}
    package func activate(_ x: Tensor, _ activation: Activation) throws {}
    package func scale(_ x: Tensor, by factor: Float) throws {}
}
