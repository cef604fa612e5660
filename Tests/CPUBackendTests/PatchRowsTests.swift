import CPUBackend
import Tensors
import TestKit
import Testing

/// Patches of 8-bit pictures against the plainest loops there are; nothing is rounded, so the results are equal.
@Suite struct PatchRowsTests {
    /// Bytes and a table without equal entries, so that a wrong place or channel shows.
    private struct Pictures {
        let pixels: GuardedTensor
        let samples: GuardedTensor

        init(pixelCount: Int) {
            var noise = Noise(UInt64(pixelCount))
            pixels = GuardedTensor(Shape(3 * pixelCount), dtype: .uint8)
            for index in 0..<3 * pixelCount {
                pixels.tensor.pointer.storeBytes(of: UInt8(noise.int(0..<256)), toByteOffset: index, as: UInt8.self)
            }
            samples = GuardedTensor(Shape(3, 256), values: (0..<768).map { Float($0) / 7 - 50 })
        }
    }

    @Test(arguments: [(1, 1), (3, 2), (14, 1), (14, 2), (5, 3)]) func agreesWithTheReference(patch: Int, frames: Int) throws {
        // Two pictures of different widths, one after the other.
        let sizes = [(width: 3 * patch + 1, height: 2 * patch), (width: patch, height: 5 * patch)]
        let counts = sizes.map { $0.width * $0.height }
        let pictures = Pictures(pixelCount: counts[0] + counts[1])
        var corners: [Int32] = []
        for (picture, size) in sizes.enumerated() {
            let start = picture == 0 ? 0 : counts[0]
            corners += [-1, 0]
            for (x, y) in [(0, 0), (size.width - patch, size.height - patch), (0, patch), (size.width - patch, 1)] {
                corners += [Int32(start + y * size.width + x), Int32(size.width)]
            }
        }
        let rows = corners.count / 2
        let cornerMemory = GuardedTensor(indices: corners)
        defer { withExtendedLifetime(cornerMemory) {} }
        let places = cornerMemory.tensor.reshaped(Shape(rows, 2))
        let width = 3 * frames * patch * patch
        let want = GuardedTensor(Shape(rows, width))
        try ReferenceBackend().patchRows(
            pictures.pixels.tensor, samples: pictures.samples.tensor, corners: places, patchSize: patch, frames: frames,
            into: want.tensor)
        for threads in [1, 2] {
            let out = GuardedTensor(Shape(rows, width), gap: 3)
            try CPUBackend(threads: threads, mode: .exact).patchRows(
                pictures.pixels.tensor, samples: pictures.samples.tensor, corners: places, patchSize: patch, frames: frames,
                into: out.tensor)
            #expect(out.values == want.values)
            #expect(out.guardsAreIntact)
        }
    }

    @Test func refusesPatchesOutsideThePixels() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        let pictures = Pictures(pixelCount: 20)
        let out = GuardedTensor(Shape(1, 12))
        for corner: [Int32] in [[14, 5], [0, 19], [0, 1], [19, 5]] {
            #expect(throws: TensorError.self) {
                try backend.patchRows(
                    pictures.pixels.tensor, samples: pictures.samples.tensor,
                    corners: GuardedTensor(indices: corner).tensor.reshaped(Shape(1, 2)), patchSize: 2, frames: 1,
                    into: out.tensor)
            }
        }
        try backend.patchRows(
            pictures.pixels.tensor, samples: pictures.samples.tensor,
            corners: GuardedTensor(indices: [13, 5]).tensor.reshaped(Shape(1, 2)), patchSize: 2, frames: 1, into: out.tensor)
    }
}
