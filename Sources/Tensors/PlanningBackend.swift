/// A backend that computes nothing: it gives out addresses that are never touched and counts the bytes asked for.
///
/// It also counts the ``work`` of the operations, so that a measured time can be held against the machine's ceilings.
///
/// Running a model's forward pass on it with the largest batch allowed tells what the pass needs, before anything large is allocated.
package final class PlanningBackend: Backend {
    package let device: Device
    package let activationType: DType
    package let cacheType: DType
    /// The type linear weights would be stored in.
    package let weightType: DType
    /// Bytes asked for by ``allocate(byteCount:purpose:)``, by purpose.
    package private(set) var allocated: [String: Int] = [:]
    /// Elements of the largest left operand a matrix product had, which backends may copy into a layout of their own.
    package private(set) var largestOperand = 0
    /// What the operations so far would have cost.
    package private(set) var work = Work()

    /// The cost of operations: what no implementation can avoid.
    package struct Work: Sendable, Equatable {
        /// Floating-point operations of matrix products, attention included; a multiply-add is two.
        package var operations = 0.0
        /// Bytes of weights read, each matrix once per call.
        package var weightBytes = 0.0
        /// Bytes of cached keys and values read, each once per call.
        package var cacheBytes = 0.0

        package init(operations: Double = 0, weightBytes: Double = 0, cacheBytes: Double = 0) {
            self.operations = operations
            self.weightBytes = weightBytes
            self.cacheBytes = cacheBytes
        }
    }

    /// Stands in for a backend with these properties.
    package init(device: Device, activationType: DType, cacheType: DType, weightType: DType) {
        self.device = device
        self.activationType = activationType
        self.cacheType = cacheType
        self.weightType = weightType
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

    /// A weight of the right shape and no data; its bytes count as `weights`.
    package func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight {
        guard let inFeatures = parts.first.map({ $0.dimensions.dropFirst().reduce(1, *) }) else {
            throw TensorError(.shapeMismatch, operation: "makeLinear", detail: "no weight was given")
        }
        let outFeatures = parts.reduce(0) { $0 + ($1.dimensions.first ?? 0) }
        let shape = Shape(outFeatures, inFeatures)
        let owner = try allocate(byteCount: shape.count * weightType.size, purpose: "weights")
        return LinearWeight(
            inFeatures: inFeatures, outFeatures: outFeatures, combine: combine, dtype: weightType,
            packed: Tensor(pointer: owner.pointer, dtype: weightType, shape: shape),
            bias: bias.map { _ in Tensor(pointer: owner.pointer, dtype: .float32, shape: Shape(outFeatures)) }, owner: owner)
    }

    package func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        let owner = try allocate(byteCount: source.count * dtype.size, purpose: "weights")
        let width = source.dimensions.dropFirst().reduce(1, *)
        let shape = source.dimensions.count > 1 ? Shape(source.dimensions[0], width) : Shape(source.count)
        return (Tensor(pointer: owner.pointer, dtype: dtype, shape: shape), owner)
    }

    package func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {
        largestOperand = max(largestOperand, x.count)
        let elements = Double(weight.inFeatures) * Double(weight.outFeatures)
        work.operations += 2 * elements * Double(x.rows)
        work.weightBytes += elements * Double(weightType.size)
    }

    package func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws {}
    package func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {}
    package func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws {}
    package func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {}
    package func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws {
        for (sequence, length) in batch.hostContextLengths.enumerated() {
            let queries = Double(batch.hostQueryStarts[sequence + 1] - batch.hostQueryStarts[sequence])
            let context = min(Double(length), Double(options.window ?? .max))
            // Query j of n sees the context but the n - 1 - j positions after it; scores and values cost 2 E each.
            let pairs = options.window == nil ? queries * context - queries * (queries - 1) / 2 : queries * context
            work.operations += 4 * pairs * Double(q.width)
            work.cacheBytes += 2 * context * Double(cache.kvHeads * cache.headSize * cacheType.size)
        }
    }

    package func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws {
        for (start, end) in zip(hostSegments, hostSegments.dropFirst()) {
            work.operations += 4 * Double(end - start) * Double(end - start) * Double(q.width)
        }
    }

    package func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) throws {}
    package func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws {}
    package func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws {}
    package func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws {}
    package func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) throws {}
    package func add(_ x: Tensor, into out: Tensor) throws {}
    package func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {}
    package func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws {}
    package func activate(_ x: Tensor, _ activation: Activation) throws {}
    package func scale(_ x: Tensor, by factor: Float) throws {}
}
