package import Tensors

/// What one token costs in every layer's cache, and how the cache is cut into blocks.
package struct KVCacheLayout: Sendable, Equatable {
    package let layers: Int
    package let kvHeads: Int
    package let headSize: Int

    package init(layers: Int, kvHeads: Int, headSize: Int) {
        self.layers = layers
        self.kvHeads = kvHeads
        self.headSize = headSize
    }

    /// Bytes of keys and values of one token in all layers.
    package func bytesPerToken(_ dtype: DType) -> Int { 2 * layers * kvHeads * headSize * dtype.size }
}

/// The paged cache of all layers: blocks of `blockSize` positions that sequences own through block tables.
package final class KVCache {
    package let layout: KVCacheLayout
    package let blockCount: Int
    package let blockSize: Int
    package let layers: [KVCacheLayer]
    private let buffer: any DeviceBuffer

    /// Allocates `blockCount` blocks in every layer.
    ///
    /// - Throws: ``TensorError`` of kind `outOfMemory`.
    package init(layout: KVCacheLayout, blockCount: Int, blockSize: Int, backend: any Backend) throws {
        self.layout = layout
        self.blockCount = blockCount
        self.blockSize = blockSize
        let dtype = backend.cacheType
        let shape = Shape(blockCount, layout.kvHeads, blockSize, layout.headSize)
        let bytes = (shape.count * dtype.size + Workspace.alignment - 1) / Workspace.alignment * Workspace.alignment
        let buffer = try backend.allocate(byteCount: 2 * layout.layers * bytes, purpose: "KV cache")
        self.buffer = buffer
        layers = (0..<layout.layers).map { layer in
            KVCacheLayer(
                keys: Tensor(pointer: buffer.pointer + 2 * layer * bytes, dtype: dtype, shape: shape),
                values: Tensor(pointer: buffer.pointer + (2 * layer + 1) * bytes, dtype: dtype, shape: shape))
        }
    }

    package var byteCount: Int { buffer.byteCount }
}
