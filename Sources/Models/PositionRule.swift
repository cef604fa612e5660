/// How a family numbers the tokens of a prompt for its rotary embedding.
package enum PositionRule: Sendable, Equatable {
    /// 0, 1, 2, … on one axis.
    case sequential
    /// M-RoPE of Qwen2-VL and Qwen2.5-VL: text counts on all three axes (temporal, height, width); an image's rows get its
    /// start plus their place in the merged grid, and the text after it goes on from the largest position (transformers 5.17.0
    /// `Qwen2_5_VLModel.get_rope_index`; Qwen2-VL, arXiv 2409.12191, section 2.1).
    case multimodal(imageTokenID: Int32, mergeSize: Int)

    package func positions(
        tokenIDs: [Int32], images: [ProcessedImage]
    ) throws(ModelError) -> (positions: [[Int32]], nextPosition: Int32) {
        switch self {
        case .sequential:
            return ([Array(0..<Int32(tokenIDs.count))], Int32(tokenIDs.count))
        case .multimodal(let imageTokenID, let mergeSize):
            return try multimodal(tokenIDs, images, imageTokenID, mergeSize)
        }
    }

    private func multimodal(
        _ tokenIDs: [Int32], _ images: [ProcessedImage], _ imageTokenID: Int32, _ mergeSize: Int
    ) throws(ModelError) -> (positions: [[Int32]], nextPosition: Int32) {
        var axes = [[Int32]](repeating: [], count: 3)
        for axis in 0..<3 { axes[axis].reserveCapacity(tokenIDs.count) }
        var next: Int32 = 0
        var image = 0
        var row = 0
        while row < tokenIDs.count {
            guard tokenIDs[row] == imageTokenID else {
                for axis in 0..<3 { axes[axis].append(next) }
                next += 1
                row += 1
                continue
            }
            guard image < images.count, images[image].grid.count == 3 else {
                throw PositionRule.mismatch("image tokens at token \(row) have no image; \(images.count) were given")
            }
            let grid = images[image].grid
            let (frames, height, width) = (grid[0], grid[1] / mergeSize, grid[2] / mergeSize)
            let end = row + frames * height * width
            guard end <= tokenIDs.count, tokenIDs[row..<end].allSatisfy({ $0 == imageTokenID }) else {
                throw PositionRule.mismatch("image \(image + 1) needs \(end - row) image tokens from token \(row) on")
            }
            for frame in 0..<frames {
                for y in 0..<height {
                    for x in 0..<width {
                        axes[0].append(next + Int32(frame))
                        axes[1].append(next + Int32(y))
                        axes[2].append(next + Int32(x))
                    }
                }
            }
            next += Int32(max(height, width))
            image += 1
            row = end
        }
        guard image == images.count else {
            throw PositionRule.mismatch("\(images.count) images were given, the prompt has tokens for \(image)")
        }
        return (axes, next)
    }

    private static func mismatch(_ detail: String) -> ModelError {
        ModelError(.promptMismatch, subject: "prompt", detail: detail)
    }
}
