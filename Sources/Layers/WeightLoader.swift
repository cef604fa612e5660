package import Checkpoints
package import Tensors

/// Takes tensors from a checkpoint by name, places them on a backend and tells how far it is.
///
/// A family builds its model through one of these. With a ``PlanningBackend`` the same code only checks names and shapes and
/// counts parameters: nothing is read or packed. The registry does that first, so a wrong checkpoint fails before anything large
/// is allocated.
package final class WeightLoader {
    package let backend: any Backend
    /// Whether only names and shapes are looked at.
    package let isPlanning: Bool
    private let binder: WeightBinder
    private let totalParameters: Int
    private let progress: ((LoadProgress) -> Void)?
    /// Scalars asked for so far.
    package private(set) var parameterCount = 0

    /// - Parameters:
    ///   - rename: names of the file to the names the family asks for; the first line that matches wins.
    ///   - totalParameters: what ``parameterCount`` was after planning; 0 when planning.
    ///   - progress: called after each weight.
    package init(
        checkpoint: Checkpoint, rename: [PrefixRename], backend: any Backend, totalParameters: Int = 0,
        progress: ((LoadProgress) -> Void)? = nil
    ) {
        self.backend = backend
        isPlanning = backend is PlanningBackend
        binder = WeightBinder(checkpoint, rename: rename, checkFinite: !isPlanning && !backend.checksFinite)
        self.totalParameters = totalParameters
        self.progress = progress
    }

    /// The scope of all names.
    package var root: LayerScope { LayerScope(loader: self, prefix: "") }

    /// Tensors under this prefix (or of this name) may be left unused.
    package func ignore(_ prefix: String) { binder.ignore(prefix) }

    /// Whether the checkpoint has this tensor; false with random weights.
    package func has(_ name: String) -> Bool { binder.has(name) }

    /// Checks that everything asked for was there and everything there was asked for.
    ///
    /// - Throws: `CheckpointError` listing every missing, mis-shaped, unused and non-finite tensor.
    package func finish() throws {
        for found in try backend.finishLoading() { binder.reportNotFinite(found.name, position: found.position) }
        try binder.finish()
    }

    /// The tensor of exactly these dimensions; zeros when it is missing, which ``finish()`` then reports.
    package func host(_ name: String, _ dimensions: [Int]) throws -> HostTensor {
        parameterCount += dimensions.reduce(1, *)
        if isPlanning, binder.isDummy {
            return HostTensor(
                name: name, dtype: .bfloat16, dimensions: dimensions, bytes: .init(start: nil, count: 0), owner: self)
        }
        return try binder.tensor(name, dimensions)
    }

    fileprivate func advance() {
        progress?(LoadProgress(loaded: parameterCount, total: max(totalParameters, parameterCount)))
    }
}

/// How much of a model is on its device.
package struct LoadProgress: Sendable, Equatable {
    /// Scalars placed so far, and in all.
    package let loaded: Int
    package let total: Int
    package var fraction: Double { total == 0 ? 1 : Double(loaded) / Double(total) }

    package init(loaded: Int, total: Int) {
        self.loaded = loaded
        self.total = total
    }
}

/// A loader below a prefix: `scope["self_attn"].linear("o_proj", in: heads * size, out: width)`.
package struct LayerScope {
    package let loader: WeightLoader
    /// Without a trailing dot.
    package let prefix: String

    fileprivate init(loader: WeightLoader, prefix: String) {
        self.loader = loader
        self.prefix = prefix
    }

    package subscript(_ next: String) -> LayerScope { LayerScope(loader: loader, prefix: full(next)) }
    package subscript(_ index: Int) -> LayerScope { self["\(index)"] }
    package func full(_ name: String) -> String { prefix.isEmpty ? name : "\(prefix).\(name)" }
    package func has(_ name: String) -> Bool { loader.has(full(name)) }
    package func host(_ name: String, _ dimensions: [Int]) throws -> HostTensor {
        try loader.host(full(name), dimensions)
    }

    /// The matrix `name.weight` `[out, in]` with `name.bias` `[out]` if it has one.
    ///
    /// - Parameter kernel: axes that `in` is the product of in the file, for convolutions whose stride is their size.
    package func linear(_ name: String, in inFeatures: Int, out: Int, bias: Bool, kernel: [Int]? = nil) throws -> LinearWeight {
        let weight = try host("\(name).weight", [out] + (kernel ?? [inFeatures]))
        return try makeLinear([weight], bias: bias ? [try host("\(name).bias", [out])] : nil)
    }

    /// Several matrices over one input as one: `[a | b | c]`, or gate and up.
    package func fused(
        _ parts: [(name: String, out: Int)], in inFeatures: Int, bias: Bool, combine: LinearWeight.Combine = .concatenated
    ) throws -> LinearWeight {
        let weights = try parts.map { try host("\($0.name).weight", [$0.out, inFeatures]) }
        return try makeLinear(
            weights, bias: bias ? try parts.map { try host("\($0.name).bias", [$0.out]) } : nil, combine: combine)
    }

    package func makeLinear(
        _ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine = .concatenated
    ) throws -> LinearWeight {
        defer { loader.advance() }
        return try loader.backend.makeLinear(parts, bias: bias, combine: combine)
    }

    /// A float32 vector `[count]`: a norm's weight or bias, a layer scale.
    package func vector(_ name: String, _ count: Int) throws -> Parameter {
        try parameter(try host(name, [count]), dtype: .float32)
    }

    /// What a root-mean-square norm multiplies by, `[count]`: the weight in the file, or 1 more (Gemma).
    package func normWeight(_ name: String, _ count: Int, plusOne: Bool) throws -> Parameter {
        guard plusOne else { return try vector(name, count) }
        let weight = try host(name, [count])
        return try parameter(
            HostTensor(name: weight.name, dimensions: [count], floats: weight.floats().map { $0 + 1 }), dtype: .float32)
    }

    /// A table `[rows, width]` in the type of the file, such as token embeddings.
    package func table(_ name: String, rows: Int, width: Int) throws -> Parameter {
        let source = try host(name, [rows, width])
        return try parameter(source, dtype: source.dtype)
    }

    package func parameter(_ source: HostTensor, dtype: DType) throws -> Parameter {
        defer { loader.advance() }
        let (tensor, owner) = try loader.backend.makeTensor(source, dtype: dtype)
        return Parameter(tensor: tensor, owner: owner)
    }
}
