import Checkpoints
import Tensors
import TestKit
import Testing

@Suite struct WeightBinderTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A checkpoint with these float32 tensors.
    private func checkpoint(_ tensors: [(String, [Int], [Float])], weights: WeightsMode = .file) throws -> Checkpoint {
        try folder.write("config.json", text: #"{"architectures":["Test"]}"#)
        var writer = SafetensorsWriter()
        for (name, dimensions, values) in tensors { writer.add(name, dimensions, values) }
        if weights == .file { try writer.write(to: folder.path + "/model.safetensors") }
        return try Checkpoint(folder: folder.path, weights: weights)
    }

    @Test func everythingAskedForOnceIsFine() throws {
        let binder = WeightBinder(
            try checkpoint([
                ("model.a.weight", [2, 2], [1, 2, 3, 4]), ("model.a.bias", [2], [5, 6]), ("lm_head.weight", [1, 2], [7, 8]),
            ]),
            rename: [PrefixRename("lm_head", to: "head"), PrefixRename("model", to: "")])
        let scope = binder.prefix("a")
        #expect(scope.has("weight") && !scope.has("other"))
        #expect(try scope.tensor("weight", [2, 2]).loadAll(as: Float.self) == [1, 2, 3, 4])
        #expect(try scope.optional("bias", [2]) != nil)
        #expect(try scope.optional("scale", [2]) == nil)
        _ = try binder.tensor("head.weight", [1, 2])
        try binder.finish()
        #expect(binder.parameterCount == 8)
    }

    @Test func oneErrorTellsEveryProblem() throws {
        let checkpoint = try checkpoint([
            ("a.weight", [2, 3], Array(repeating: 0, count: 6)), ("b.weight", [1], [.nan]), ("spare.x.norm.weight", [1], [1]),
            ("k", [2], [1, .infinity]),
        ])
        let binder = WeightBinder(checkpoint)
        #expect(try binder.tensor("a.weight", [3, 2]).dimensions == [3, 2])
        let absent = try binder.tensor("x.norm.weight", [4])
        #expect(absent.dimensions == [4] && absent.loadAll(as: UInt8.self) == Array(repeating: 0, count: 8))
        _ = try binder.tensor("b.weight", [1])
        _ = try binder.tensor("k", [2])
        let error = try #require(#expect(throws: CheckpointError.self) { try binder.finish() })
        #expect(error.kind == .weightMismatch)
        #expect(error.source == folder.path)
        #expect(error.detail.contains("missing (1): x.norm.weight [4] (is it spare.x.norm.weight?)"), "\(error)")
        #expect(error.detail.contains("a.weight is [2, 3], the configuration implies [3, 2]"))
        #expect(error.detail.contains("b.weight has NaN or infinity at element 0"))
        #expect(error.detail.contains("k has NaN or infinity at element 1"))
        #expect(error.detail.contains("not used by this architecture (1): spare.x.norm.weight"))
    }

    @Test func onlyNaNIsItsOwnKind() throws {
        let binder = WeightBinder(try checkpoint([("b", [1], [.nan])]))
        _ = try binder.tensor("b", [1])
        #expect(#expect(throws: CheckpointError.self) { try binder.finish() }?.kind == .notFinite)
        let unchecked = WeightBinder(try checkpoint([("b", [1], [.nan])]), checkFinite: false)
        _ = try unchecked.tensor("b", [1])
        try unchecked.finish()
    }

    @Test func manyProblemsAreCounted() throws {
        let binder = WeightBinder(try checkpoint((0..<30).map { ("t\($0)", [1], [0]) }))
        let error = try #require(#expect(throws: CheckpointError.self) { try binder.finish() })
        #expect(error.detail.contains("(30)") && error.detail.contains("and 22 more"))
        #expect(error.detail.utf8.count < 400)
    }

    @Test func ignoredNamesMayStayUnused() throws {
        let binder = WeightBinder(try checkpoint([("mtp.a", [1], [0]), ("mtp.b", [1], [0]), ("mtpx", [1], [0])]))
        binder.ignore("mtp")
        let error = try #require(#expect(throws: CheckpointError.self) { try binder.finish() })
        #expect(error.detail.contains("(1): mtpx"))
    }

    @Test func renamesMatchWholeComponentsAndTheFirstLineWins() throws {
        let binder = WeightBinder(
            try checkpoint([("visual.a", [1], [0]), ("visualizer.a", [1], [0]), ("model.visual.b", [1], [0])]),
            rename: [
                PrefixRename("visual", to: "tower"), PrefixRename("model.visual", to: "tower"),
                PrefixRename("model", to: "language"),
            ])
        #expect(binder.has("tower.a") && binder.has("visualizer.a") && binder.has("tower.b") && !binder.has("language.visual.b"))
    }

    @Test func twoFilesNamesForOneTensorAreReported() throws {
        let binder = WeightBinder(
            try checkpoint([("a.x", [1], [0]), ("b.x", [1], [0])]),
            rename: [PrefixRename("a", to: "c"), PrefixRename("b", to: "c")])
        _ = try binder.tensor("c.x", [1])
        let error = try #require(#expect(throws: CheckpointError.self) { try binder.finish() })
        #expect(error.detail.contains("a.x and b.x are both c.x"))
    }

    @Test func integerWeightsAreRefused() throws {
        try folder.write("config.json", text: "{}")
        var writer = SafetensorsWriter()
        writer.add("q", [2], [Int32(1), 2])
        try writer.write(to: folder.path + "/model.safetensors")
        let binder = WeightBinder(try Checkpoint(folder: folder.path))
        _ = try binder.tensor("q", [2])
        let error = try #require(#expect(throws: CheckpointError.self) { try binder.finish() })
        #expect(error.detail.contains("q is int32"))
    }

    @Test(arguments: [[0, 4], [-1], [1 << 40, 1 << 40], [1 << 24, 1 << 24]])
    func impossibleShapesBlameTheConfiguration(_ dimensions: [Int]) throws {
        for weights in [WeightsMode.file, .dummy(seed: 1)] {
            let binder = WeightBinder(try checkpoint([("w", [1], [0])], weights: weights))
            let error = try #require(#expect(throws: CheckpointError.self) { try binder.tensor("w", dimensions) })
            #expect(error.kind == .invalidConfig && error.source.hasSuffix("config.json"))
        }
    }

    // MARK: Dummy weights

    @Test func dummyWeightsNeedNoTensorFileAndAreTheSameEveryTime() throws {
        let first = WeightBinder(try checkpoint([], weights: .dummy(seed: 3)))
        #expect(first.isDummy)
        let a = try first.tensor("layers.0.q_proj.weight", [37, 101])
        let b = try WeightBinder(checkpoint([], weights: .dummy(seed: 3))).tensor("layers.0.q_proj.weight", [37, 101])
        let otherName = try first.tensor("layers.1.q_proj.weight", [37, 101])
        let otherSeed = try WeightBinder(checkpoint([], weights: .dummy(seed: 4))).tensor("layers.0.q_proj.weight", [37, 101])
        #expect(a.loadAll(as: UInt16.self) == b.loadAll(as: UInt16.self))
        #expect(a.loadAll(as: UInt16.self) != otherName.loadAll(as: UInt16.self))
        #expect(a.loadAll(as: UInt16.self) != otherSeed.loadAll(as: UInt16.self))
        // The stream is part of the contract: benchmarks and goldens made from a seed must stay what they were.
        #expect(values(a).prefix(4).map(\.bitPattern) == WeightBinderTests.pinned)
        #expect(try first.optional("bias", [4]) == nil)
        #expect(try first.optional("bias", [4], inDummy: true) != nil)
        try first.finish()
    }

    static let pinned: [UInt32] = [3_153_002_496, 1_020_526_592, 3_153_920_000, 1_009_582_080]

    /// A GPU makes each number from its index alone; this is that formula, one element at a time.
    @Test func everyDummyNumberFollowsFromItsIndex() throws {
        let key: UInt64 = 0x1234_5678_9ABC_DEF0
        let count = (1 << 20) + 37
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count * 2, alignment: 64)
        defer { memory.deallocate() }
        let recipe = HostRecipe(deviation: 0.5, key: key)
        guard case .normal(_, let scale) = recipe.formula else { return #expect(Bool(false)) }
        let made = HostTensor(
            name: "w", dtype: .bfloat16, dimensions: [count], bytes: UnsafeRawBufferPointer(memory), owner: folder,
            recipe: recipe
        ).loadAll(as: UInt16.self)
        for index in [0, 1, 15, 16, 17, 4095, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, count - 1] {
            var x = UInt32(truncatingIfNeeded: index) &+ UInt32(truncatingIfNeeded: key)
            x = (x ^ (x >> 16)) &* 0x21F0_AAAD
            x ^= UInt32(key >> 32)
            x = (x ^ (x >> 15)) &* 0xD35A_2D97
            x ^= x >> 15
            let sum = (0..<4).reduce(0) { $0 + Int((x >> (8 * $1)) & 0xFF) }
            #expect(made[index] == HostRecipe.bfloat16(Float(sum - 510) * scale), "element \(index)")
        }
    }

    @Test func dummyWeightsAreNormalWithTheDeviationAsked() throws {
        let binder = WeightBinder(try checkpoint([], weights: .dummy(seed: 1)))
        let sample = values(try binder.tensor("w.weight", [1000, 1000]))
        let mean = sample.reduce(0.0) { $0 + Double($1) } / 1e6
        let variance = sample.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / 1e6
        #expect(abs(mean) < 1e-4)
        #expect(abs(variance.squareRoot() - 0.02) < 2e-4)
        let beyondTwo = sample.count { abs($0) > 0.04 }
        #expect((30_000...60_000).contains(beyondTwo), "\(beyondTwo) of a million beyond two deviations; a normal has 45,500")
        let neighbours = zip(sample, sample.dropFirst()).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } / (1e6 * variance)
        #expect(abs(neighbours) < 5e-3, "neighbouring values are correlated")
        #expect(values(try binder.tensor("input_layernorm.weight", [5])) == [1, 1, 1, 1, 1])
        #expect(values(try binder.tensor("q_proj.bias", [3])) == [0, 0, 0])
        #expect(values(try binder.tensor("ls1", [2])) == [1, 1])
        #expect(values(try binder.tensor("gate", [2], dummy: .constant(0.5))) == [0.5, 0.5])
    }

    private func values(_ tensor: HostTensor) -> [Float] {
        tensor.loadAll(as: UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
    }

    // MARK: Finite numbers

    @Test(arguments: [DType.float64, .float32, .float16, .bfloat16, .float8e4m3, .float8e5m2])
    func findsTheOneElementThatIsNotFinite(_ dtype: DType) throws {
        // All ones is NaN in every one of these formats; the largest finite number must pass.
        let largest: [UInt8] =
            switch dtype {
            case .float64: [255, 255, 255, 255, 255, 255, 0xEF, 0xFF]
            case .float32: [255, 255, 0x7F, 0xFF]
            case .bfloat16: [0x7F, 0xFF]
            case .float16: [255, 0xFB]
            case .float8e5m2: [0x7B]
            default: [0xFE]
            }
        for position in [0, 1, 4095, 4096, 9_999] {
            var bytes = (0..<10_000).flatMap { _ in largest }
            #expect(tensor(bytes, dtype).firstNonFinite() == nil)
            for byte in 0..<dtype.size { bytes[position * dtype.size + byte] = 255 }
            #expect(tensor(bytes, dtype).firstNonFinite() == position)
        }
        #expect(tensor(Array(repeating: 255, count: 64), .int32).firstNonFinite() == nil)
    }

    private final class Storage {
        let bytes: UnsafeMutableRawBufferPointer
        init(_ values: [UInt8]) {
            bytes = .allocate(byteCount: values.count, alignment: 64)
            bytes.copyBytes(from: values)
        }
        deinit { bytes.deallocate() }
    }

    private func tensor(_ bytes: [UInt8], _ dtype: DType) -> HostTensor {
        let storage = Storage(bytes)
        return HostTensor(
            name: "t", dtype: dtype, dimensions: [bytes.count / dtype.size], bytes: UnsafeRawBufferPointer(storage.bytes),
            owner: storage)
    }
}
