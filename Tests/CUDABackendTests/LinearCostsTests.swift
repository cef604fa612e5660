import CUDABackend
import Tensors
import Testing

@Suite struct LinearCostsTests {
    /// A product measured both ways on an H100 where one was clearly faster, `library` with the pass that it leaves.
    struct Measured: CustomTestStringConvertible, Sendable {
        let rows, features, inFeatures: Int
        let kind: Kind
        /// Microseconds of the product alone.
        let library, hopper: Double

        enum Kind: Sendable { case plain, activated, gated }

        init(_ rows: Int, _ features: Int, _ inFeatures: Int, _ kind: Kind = .plain, library: Double, hopper: Double) {
            (self.rows, self.features, self.inFeatures, self.kind) = (rows, features, inFeatures, kind)
            (self.library, self.hopper) = (library, hopper)
        }

        var epilogue: LinearEpilogue {
            switch kind {
            case .plain: .accumulate
            case .activated: .activation(.gelu)
            case .gated: .gated(.silu)
            }
        }
        var testDescription: String { "\(rows)x\(inFeatures)x\(features) \(kind)" }
    }

    static let measured = [
        Measured(17, 17920, 1536, .gated, library: 25.1, hopper: 22.0),
        Measured(64, 3584, 3584, library: 12.0, hopper: 13.7),
        Measured(64, 37888, 3584, .gated, library: 109.3, hopper: 98.0),
        Measured(64, 17920, 1536, .gated, library: 24.4, hopper: 23.6),
        Measured(128, 4608, 3584, library: 15.6, hopper: 17.1),
        Measured(128, 37888, 3584, .gated, library: 105.9, hopper: 100.4),
        Measured(256, 4608, 3584, library: 18.0, hopper: 22.3),
        Measured(256, 37888, 3584, .gated, library: 114.5, hopper: 118.4),
        Measured(256, 17920, 1536, .gated, library: 27.4, hopper: 31.2),
        Measured(331, 3584, 3584, library: 16.6, hopper: 22.4),
        Measured(331, 3584, 18944, library: 80.1, hopper: 97.5),
        Measured(331, 37888, 3584, .gated, library: 130.5, hopper: 156.1),
        Measured(331, 17920, 1536, .gated, library: 36.7, hopper: 34.6),
        Measured(331, 1536, 1536, library: 7.5, hopper: 8.0),
        Measured(1024, 4608, 3584, library: 45.5, hopper: 55.3),
        Measured(1024, 3584, 3584, library: 35.7, hopper: 40.5),
        Measured(1024, 37888, 3584, .gated, library: 350.9, hopper: 369.9),
        Measured(1025, 4096, 1024, .activated, library: 15.8, hopper: 18.7),
        Measured(1025, 3072, 1024, library: 12.7, hopper: 11.3),
        Measured(1025, 1024, 1024, library: 7.4, hopper: 6.7),
        Measured(64, 4608, 3584, library: 14.8, hopper: 16.9),
        Measured(64, 3584, 18944, library: 57.7, hopper: 54.3),
        Measured(64, 151_680, 3584, library: 400, hopper: 379),
        Measured(256, 151_680, 3584, library: 441, hopper: 453),
        Measured(2050, 1024, 4096, library: 25.1, hopper: 28.9),
        Measured(4096, 4608, 3584, library: 173.8, hopper: 178.0),
        Measured(4096, 37888, 3584, .gated, library: 1401.5, hopper: 1627.0),
        Measured(8200, 4096, 1024, .activated, library: 98.2, hopper: 111.2),
    ]

    @Test(arguments: measured)
    func choosesWhatWasFaster(_ product: Measured) {
        let pass = LinearCosts.passMicroseconds(rows: product.rows, features: product.features, epilogue: product.epilogue)
        let chosen = LinearCosts.prefersLibrary(
            rows: product.rows, features: product.features, inFeatures: product.inFeatures, epilogue: product.epilogue)
        #expect(chosen == (product.library + LinearCosts.handOver + pass < product.hopper))
    }

    @Test(arguments: measured)
    func expectsAboutWhatWasMeasured(_ product: Measured) {
        let (rows, features, inFeatures) = (product.rows, product.features, product.inFeatures)
        let library = LinearCosts.library.microseconds(rows: rows, features: features, inFeatures: inFeatures)
        let hopper = LinearCosts.hopper.microseconds(rows: rows, features: features, inFeatures: inFeatures)
        #expect(abs(library / product.library - 1) < 0.25)
        #expect(abs(hopper / product.hopper - 1) < 0.25)
    }

    /// Layer scales that are not folded go by way of float32 with the library, which costs several passes.
    @Test func scalesCountAsPasses() {
        let scale = Tensor(
            pointer: UnsafeMutableRawPointer.allocate(byteCount: 4, alignment: 4), dtype: .float32, shape: Shape(1))
        defer { scale.pointer.deallocate() }
        let scaled = LinearCosts.passMicroseconds(rows: 1025, features: 1024, epilogue: .scaledAccumulate(scale: scale))
        #expect(scaled > LinearCosts.passMicroseconds(rows: 1025, features: 1024, epilogue: .activation(.gelu)))
        #expect(LinearCosts.passMicroseconds(rows: 1025, features: 1024, epilogue: .accumulate) == 0)
    }

    /// The first call fills whole rounds of tiles, and the rest is shorter than a round.
    @Test func roundsOfTilesAreWhole() {
        // InternVL3-8B, 4,096 tokens: down, and the projection after attention.
        for depth in [18_944, 3584] {
            #expect(LinearCosts.wholeWaves(rows: 4096, features: 3584, inFeatures: depth, multiprocessors: 132) == 3584)
        }
        // 5.94 rounds are as good as six, and few rows are not worth a second call.
        #expect(LinearCosts.wholeWaves(rows: 7168, features: 3584, inFeatures: 18_944, multiprocessors: 132) == 7168)
        for rows in [1, 331, 1024] {
            #expect(LinearCosts.wholeWaves(rows: rows, features: 3584, inFeatures: 3584, multiprocessors: 132) == rows)
        }
        for rows in 1...700 {
            let first = LinearCosts.wholeWaves(rows: rows * 13, features: 4608, inFeatures: 3584, multiprocessors: 114)
            #expect(first > 0 && first <= rows * 13)
            guard first < rows * 13 else { continue }
            let (whole, rest) = (first / 128 * 18).quotientAndRemainder(dividingBy: 114)
            // What is free of the last round is less than one more row of tiles takes.
            #expect(first % 128 == 0 && rows * 13 - first > 16 && whole >= 1 && (rest == 0 || rest > 114 - 18), "\(rows * 13)")
        }
    }

    /// Every row once, none in a chunk too large, whole tiles of 128 where there is room for one.
    @Test(arguments: [1, 17, 331, 885, 886, 1024, 4096, 5000], [1, 100, 128, 885, 4096])
    func chunksCoverRows(rows: Int, most: Int) {
        let chunks = CUDABackend.chunks(rows, most: most)
        #expect(chunks.first?.lowerBound == 0 && chunks.last?.upperBound == rows)
        #expect(zip(chunks, chunks.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
        #expect(chunks.allSatisfy { !$0.isEmpty && $0.count <= most })
        if most >= 128 { #expect(chunks.dropLast().allSatisfy { $0.count % 128 == 0 }) }
    }
}
