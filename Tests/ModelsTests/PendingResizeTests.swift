import CPUBackend
import Imaging
import Layers
import Models
import TestKit
import Tensors
import Testing

/// Pictures that are handed over before they are resized become the same bytes.
@Suite struct PendingResizeTests {
    private func picture(_ width: Int, _ height: Int) throws -> RGBImage {
        var state = UInt32(truncatingIfNeeded: width * 31 + height)
        return try RGBImage(
            width: width, height: height,
            pixels: (0..<width * height * 3).map { _ in
                state = state &* 1_664_525 &+ 1_013_904_223
                // Long runs of black and white overshoot, so clipping shows.
                return state >> 30 == 0 ? UInt8(truncatingIfNeeded: state >> 16) : state >> 31 == 0 ? 0 : 255
            })
    }

    @Test(arguments: [ResampleArithmetic.torch, .pillow]) func resamplingOnABackendEqualsTheHostsResize(
        _ arithmetic: ResampleArithmetic
    ) throws {
        let whole = [(37, 23, 14, 50), (64, 64, 28, 28), (5, 90, 40, 7), (30, 20, 30, 9)].map {
            width, height, newWidth, newHeight in
            (width, height, ResizeTarget(width: newWidth, height: newHeight))
        }
        // Cropped, bordered, both, and an axis that is cropped only.
        let windows = [(20, 12), (53, 71), (21, 60)].flatMap { window in
            whole.map { ($0.0, $0.1, $0.2.centered(width: window.0, height: window.1)) }
        }
        for (width, height, size) in whole + windows {
            let image = try picture(width, height)
            let (newWidth, newHeight) = (size.windowWidth, size.windowHeight)
            for filter in [ResampleFilter.bilinear, .bicubic, .lanczos, .box] {
                let pending = try #require(
                    PendingResize(
                        image, targets: [size], filter: filter, arithmetic: arithmetic, byteLimit: 1 << 20))
                let want = resize(image, to: size, filter: filter, arithmetic: arithmetic)
                #expect(pending.pictures == [want])
                for backend in [try CPUBackend(threads: 2, mode: .exact) as any Backend, ReferenceBackend()] {
                    let context = ForwardContext(
                        backend: backend, workspace: try Workspace(backend: backend, byteCount: 1 << 20))
                    var tensor = try context.workspace.allocate(Shape(height, width, 3), dtype: .uint8)
                    try context.upload(image.pixels, to: tensor)
                    let target = pending.targets[0]
                    if let axis = target.horizontal {
                        let out = try context.workspace.allocate(Shape(height, newWidth, 3), dtype: .uint8)
                        try resample(tensor, axis, context, out)
                        tensor = out
                    }
                    if let axis = target.vertical {
                        let out = try context.workspace.allocate(Shape(1, newHeight, 3 * newWidth), dtype: .uint8)
                        try resample(tensor.reshaped(Shape(1, height, 3 * newWidth)), axis, context, out)
                        tensor = out
                    }
                    var bytes = [UInt8](repeating: 0, count: tensor.count)
                    try bytes.withUnsafeMutableBytes { try backend.download(tensor, into: $0) }
                    #expect(bytes == want.pixels, "\(width)x\(height) to \(size), \(filter)")
                }
            }
        }
    }

    private func resample(_ source: Tensor, _ axis: ResampleTable, _ context: ForwardContext, _ out: Tensor) throws {
        let starts = try context.upload(axis.starts)
        let weights = try context.upload(axis.weights).reshaped(Shape(axis.starts.count, axis.taps))
        try context.backend.resample(source, starts: starts, weights: weights, precision: axis.precision, into: out)
    }

    @Test func whatIsNotWorthItStaysOnTheHost() throws {
        let image = try picture(20, 10)
        func pending(_ sizes: [(width: Int, height: Int)], limit: Int = 1 << 20, _ filter: ResampleFilter = .bicubic) -> Bool {
            PendingResize(
                image, targets: sizes.map { ResizeTarget(width: $0.width, height: $0.height) }, filter: filter,
                arithmetic: .torch,
                byteLimit: limit) != nil
        }
        #expect(pending([(28, 28)]) && pending([(20, 10), (28, 28)]))
        #expect(!pending([(20, 10)]) && !pending([(28, 28)], limit: 1000) && !pending([(28, 28)], .nearest))
    }

    /// Through the processor and the tower of every family that sees.
    @Test(arguments: Golden.all) func featuresAreTheSame(_ name: String) throws {
        let golden = try Golden(name)
        let backend = try CPUBackend(threads: 2, mode: .exact)
        let runner = try ModelRunner(
            try ModelRegistry.load(try golden.open(), backend: backend), backend: backend, workspaceBytes: 32 << 20)
        var options = ImageOptions()
        options.leavesResizing = true
        for each in golden.cases where !each.images.isEmpty {
            let ready = try each.processedImages(runner.model)
            let pending = try each.processedImages(runner.model, options: options)
            #expect(zip(ready, pending).allSatisfy { $0.pixels == $1.pixels && $0.dimensions == $1.dimensions })
            let features = try runner.encode(ready).flatMap { try runner.download($0) }
            #expect(try runner.encode(pending).flatMap { try runner.download($0) } == features, "\(each.name)")
        }
    }
}
