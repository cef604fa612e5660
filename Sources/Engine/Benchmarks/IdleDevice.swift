import Layers
import Tensors

/// A device that does everything at once by doing nothing: what remains is the host's work.
final class IdleDevice: AsynchronousBackend {
    let device = Device.cuda(0)
    let activationType = DType.float32
    let cacheType = DType.float32

    private final class Memory: DeviceBuffer {
        let pointer: UnsafeMutableRawPointer
        let byteCount: Int

        init(byteCount: Int) {
            self.byteCount = byteCount
            pointer = .allocate(byteCount: max(1, byteCount), alignment: Workspace.alignment)
            pointer.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        }

        deinit { pointer.deallocate() }
    }

    private final class Nothing: RecordedWork, StreamMark {
        func wait() {}
        func seconds(since earlier: any StreamMark) -> Double { 0 }
    }

    /// Always chooses the same token.
    private final class Chooser: DeviceSampler {
        let newest: Tensor
        let masks: Tensor
        let resultCount: Int
        private let memory: any DeviceBuffer
        var results: UnsafePointer<Int32> { UnsafePointer(memory.pointer.assumingMemoryBound(to: Int32.self)) }

        init(lanes: Int) {
            resultCount = 4 * lanes
            memory = Memory(byteCount: 4 * resultCount)
            newest = Tensor(pointer: memory.pointer, dtype: .int32, shape: Shape(lanes))
            masks = Tensor(pointer: memory.pointer, dtype: .int32, shape: Shape(lanes, 1))
        }

        func begin(lane: Int, tokens: [Int32], counted: ArraySlice<Int32>?) {}
        func sample(_ logits: Tensor, rows: Tensor, kind: SamplingKind) {}
    }

    func allocate(byteCount: Int, purpose: String) -> any DeviceBuffer { Memory(byteCount: byteCount) }
    func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) {}
    func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) {}
    func copy(_ source: Tensor, into out: Tensor) {}
    func synchronize() {}
    func record(_ body: () throws -> Void) rethrows -> any RecordedWork {
        try body()
        return Nothing()
    }
    func replay(_ work: any RecordedWork) {}
    func mark() -> any StreamMark { Nothing() }
    func makeSampler(lanes: Int, vocabularySize: Int) -> any DeviceSampler { Chooser(lanes: lanes) }

    // MARK: Operations, none of which take time

    func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight {
        throw TensorError(.unsupported, operation: "makeLinear", detail: "an idle device holds no weights")
    }
    func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        throw TensorError(.unsupported, operation: "makeTensor", detail: "an idle device holds no weights")
    }
    func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) {}
    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) {}
    func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) {}
    func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) {}
    func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) {}
    func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) {}
    func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) {}
    func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) {}
    func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) {}
    func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) {}
    func add(_ x: Tensor, into out: Tensor) {}
    func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) {}
    func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) {}
    func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) {}
    func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) {}
    func activate(_ x: Tensor, _ activation: Activation) {}
    func scale(_ x: Tensor, by factor: Float) {}
}

/// A model that computes nothing.
final class IdleModel: LanguageModel {
    let vocabularySize = 32
    let hiddenSize = 1
    let maxPositions = 1 << 20
    let cacheLayout = KVCacheLayout(layers: 1, kvHeads: 1, headSize: 1)
    let positionAxes: Int
    let parameterCount = 0
    let canBeRecorded = true

    init(positionAxes: Int) { self.positionAxes = positionAxes }

    func forward(_ batch: ForwardBatch, cache: KVCache, context: ForwardContext) throws -> Tensor {
        _ = try batch.place(context)
        return try context.activations(Shape(batch.outputRows.count, hiddenSize))
    }

    func logits(_ hidden: Tensor, context: ForwardContext) throws -> Tensor {
        try context.workspace.allocate(Shape(hidden.rows, vocabularySize), dtype: .float32)
    }
}
