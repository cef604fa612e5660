package import Tensors

/// One line of a rename table: names that start with `from` (whole components) start with `to` instead.
package struct PrefixRename: Sendable {
    let from: String
    let to: String

    package init(_ from: String, to: String) {
        self.from = from
        self.to = to
    }

    /// The new name, or nil when this line does not apply.
    func apply(_ name: String) -> String? {
        guard name.utf8.starts(with: from.utf8) else { return nil }
        let rest = name.utf8.dropFirst(from.utf8.count)
        guard from.isEmpty || rest.isEmpty || rest.first == UInt8(ascii: ".") else { return nil }
        let tail = String(Substring(rest))
        if to.isEmpty { return tail.hasPrefix(".") ? String(tail.dropFirst()) : tail }
        return from.isEmpty ? to + "." + tail : to + tail
    }
}

/// Hands a model its tensors by name and shape and checks that file and model agree.
///
/// A model asks for each tensor once with the dimensions its configuration implies. Nothing throws on the way: a tensor that is
/// missing or mis-shaped is recorded and zeros of the asked shape are returned, so that ``finish()`` can report *all* missing,
/// mis-shaped, unused and non-finite tensors in one error. In dummy mode the asked dimensions are filled with random numbers, one
/// tensor at a time: what the model has packed and dropped is freed at once.
package final class WeightBinder {
    /// How a tensor is filled in dummy mode.
    package enum DummyFill: Sendable {
        /// By the name: `…norm….weight` and layer scales 1, `…bias` 0, anything else normal with deviation 0.02.
        case byName
        case normal(deviation: Float)
        case constant(Float)
    }

    private let checkpoint: Checkpoint
    private let checkFinite: Bool
    /// Name after renaming → name in the file.
    private var fileNames: [String: String] = [:]
    private var requested: Set<String> = []
    private var ignored: [String] = []
    private var problems = BindingProblems()
    private let dummy: DummyWeights?

    /// - Parameters:
    ///   - rename: an ordered table; the first line whose prefix matches a file's name renames it.
    ///   - checkFinite: look at every number and report tensors that hold NaN or infinity.
    package init(_ checkpoint: Checkpoint, rename: [PrefixRename] = [], checkFinite: Bool = true) {
        self.checkpoint = checkpoint
        self.checkFinite = checkFinite
        switch checkpoint.weights {
        case .file: dummy = nil
        case .dummy(let seed): dummy = DummyWeights(seed: seed)
        }
        for name in checkpoint.tensorNames {
            let renamed = rename.lazy.compactMap { $0.apply(name) }.first ?? name
            if let other = fileNames[renamed] { problems.clashes.append((other, name, renamed)) }
            fileNames[renamed] = name
        }
    }

    /// Whether the weights are random.
    package var isDummy: Bool { dummy != nil }
    /// Parameters handed out so far.
    package private(set) var parameterCount = 0

    /// The scope of names that start with `prefix.`.
    package func prefix(_ prefix: String) -> WeightScope { WeightScope(binder: self, prefix: prefix) }

    /// Whether the file has this tensor; always false in dummy mode.
    package func has(_ name: String) -> Bool { fileNames[name] != nil }

    /// Whether the file has a tensor whose (renamed) name starts with `prefix.`; always false in dummy mode.
    package func hasAny(under prefix: String) -> Bool {
        let start = prefix + "."
        return fileNames.keys.contains { $0.hasPrefix(start) }
    }

    /// Names under this prefix (or the name itself) may be left unused, such as a tied head that a file repeats.
    package func ignore(_ prefix: String) { ignored.append(prefix) }

    /// The tensor `name` with exactly these dimensions.
    ///
    /// In the file's own type (float32, float16 or bfloat16); in dummy mode bfloat16.
    ///
    /// - Throws: ``CheckpointError`` when memory runs out, or when the dimensions cannot be those of a tensor because the configuration
    ///   they come from is wrong; problems with the tensor itself wait for ``finish()``.
    package func tensor(_ name: String, _ dimensions: [Int], dummy fill: DummyFill = .byName) throws -> HostTensor {
        let count = try elementCount(name, dimensions)
        if let found = try take(name, dimensions, fill: fill) { return found }
        let memory = try AnonymousMemory(byteCount: count * DType.bfloat16.size)
        return HostTensor(
            name: name, dtype: .bfloat16, dimensions: dimensions, bytes: UnsafeRawBufferPointer(memory.bytes), owner: memory)
    }

    /// The tensor `name`, or nil when the file lacks it; a wrong shape is still reported. Nil in dummy mode unless `inDummy`.
    package func optional(
        _ name: String, _ dimensions: [Int], inDummy: Bool = false, dummy fill: DummyFill = .byName
    ) throws -> HostTensor? {
        if isDummy ? !inDummy : !has(name) { return nil }
        return try tensor(name, dimensions, dummy: fill)
    }

    /// Adds a tensor of the file that somebody else found to hold NaN or infinity, to be reported by ``finish()``.
    package func reportNotFinite(_ fileName: String, position: Int) { problems.notFinite.append((fileName, position)) }

    /// Checks that everything asked for was there and everything there was asked for.
    ///
    /// - Throws: ``CheckpointError`` of kind `weightMismatch` or `notFinite` listing every problem found.
    package func finish() throws {
        let unused = fileNames.filter { !requested.contains($0.key) && !isIgnored($0.key) }
        problems.unused = unused.values.sorted()
        if let error = problems.error(source: checkpoint.folder, fileNames: fileNames, requested: requested) { throw error }
    }

    private func isIgnored(_ name: String) -> Bool { ignored.contains { name == $0 || name.hasPrefix($0 + ".") } }

    /// Counts the elements of dimensions that come from a configuration file and may be anything.
    private func elementCount(_ name: String, _ dimensions: [Int]) throws -> Int {
        var count = 1
        for length in dimensions {
            let (product, overflow) = count.multipliedReportingOverflow(by: length)
            guard length > 0, !overflow, product < 1 << 48 else {
                throw CheckpointError(
                    .invalidConfig, source: checkpoint.config.file, detail: "\(name) would have the shape \(dimensions)",
                    hint: "Check the sizes in this file")
            }
            count = product
        }
        parameterCount += count
        return count
    }

    private func take(_ name: String, _ dimensions: [Int], fill: DummyFill) throws -> HostTensor? {
        requested.insert(name)
        if let dummy { return try dummy.tensor(name, dimensions, fill: fill) }
        guard let fileName = fileNames[name], let found = checkpoint.tensor(fileName) else {
            problems.missing.append((name, dimensions))
            return nil
        }
        guard found.dimensions == dimensions else {
            problems.misshapen.append((fileName, dimensions, found.dimensions))
            return nil
        }
        guard [.float32, .float16, .bfloat16].contains(found.dtype) else {
            problems.wrongType.append((fileName, found.dtype))
            return nil
        }
        if checkFinite, let position = found.firstNonFinite() { problems.notFinite.append((fileName, position)) }
        return found
    }
}

/// A binder below a prefix: `scope.prefix("self_attn").tensor("q_proj.weight", [heads * size, width])`.
package struct WeightScope {
    private let binder: WeightBinder
    /// The prefix, without a trailing dot.
    package let prefix: String

    init(binder: WeightBinder, prefix: String) {
        self.binder = binder
        self.prefix = prefix
    }

    private func full(_ name: String) -> String { prefix.isEmpty ? name : prefix + "." + name }

    package var isDummy: Bool { binder.isDummy }
    package func prefix(_ next: String) -> WeightScope { binder.prefix(full(next)) }
    package func has(_ name: String) -> Bool { binder.has(full(name)) }
    package func ignore(_ name: String) { binder.ignore(full(name)) }
    package func tensor(_ name: String, _ dimensions: [Int], dummy fill: WeightBinder.DummyFill = .byName) throws -> HostTensor {
        try binder.tensor(full(name), dimensions, dummy: fill)
    }
    package func optional(
        _ name: String, _ dimensions: [Int], inDummy: Bool = false, dummy fill: WeightBinder.DummyFill = .byName
    ) throws -> HostTensor? {
        try binder.optional(full(name), dimensions, inDummy: inDummy, dummy: fill)
    }
}
