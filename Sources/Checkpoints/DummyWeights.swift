import Tensors

/// Random weights in the shapes a model asks for, the same for the same seed and tensor name on every machine.
struct DummyWeights: Sendable {
    let seed: UInt64

    /// A bfloat16 tensor, whose numbers are made when somebody reads them.
    func tensor(_ name: String, _ dimensions: [Int], fill: WeightBinder.DummyFill) throws -> HostTensor {
        // Address space; memory is only taken for what is written.
        let memory = try AnonymousMemory(byteCount: dimensions.reduce(DType.bfloat16.size, *))
        let recipe: HostRecipe? =
            switch DummyWeights.resolve(fill, name: name) {
            case .constant(let value): HostRecipe(.constant(value))
            case .normal(let deviation): HostRecipe(deviation: deviation, key: DummyWeights.hash(name, seed: seed))
            case .byName: nil  // resolve never returns it
            }
        return HostTensor(
            name: name, dtype: .bfloat16, dimensions: dimensions, bytes: UnsafeRawBufferPointer(memory.bytes), owner: memory,
            recipe: recipe)
    }

    /// Turns `byName` into what the name says.
    private static func resolve(_ fill: WeightBinder.DummyFill, name: String) -> WeightBinder.DummyFill {
        guard case .byName = fill else { return fill }
        let parts = name.split(separator: ".")
        if parts.last == "bias" { return .constant(0) }
        if name.contains("norm") || name.contains("ln_q") || parts.last?.hasPrefix("lambda_") == true || parts.last == "ls1"
            || parts.last == "ls2"
        {
            return .constant(1)
        }
        return .normal(deviation: 0.02)
    }

    /// FNV-1a over the name, then mixed with the seed. Swift's own hashes differ from run to run.
    private static func hash(_ name: String, seed: UInt64) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return mix(hash ^ mix(seed))
    }

    /// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
