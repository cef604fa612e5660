import Models

/// Consecutive prompt positions that hold consecutive feature rows of one image.
///
/// Most families give an image one run; families that mark rows or tiles with tokens of their own break it into several.
struct ImageRun: Equatable {
    let start: Int
    let count: Int
    let image: Int
    let featureRow: Int

    /// The positions in the prompt.
    var positions: Range<Int> { start..<start + count }

    /// The runs of a prompt.
    ///
    /// - Throws: ``EngineError`` when image tokens and feature rows do not match one to one.
    static func find(in tokenIDs: [Int32], imageTokenID: Int32, images: [ProcessedImage]) throws(EngineError) -> [ImageRun] {
        var runs: [ImageRun] = []
        var position = 0
        var image = 0
        var row = 0
        var total = 0
        while position < tokenIDs.count {
            guard tokenIDs[position] == imageTokenID else {
                position += 1
                continue
            }
            total += 1
            while image < images.count && row == images[image].tokenCount { (image, row) = (image + 1, 0) }
            guard image < images.count else {
                position += 1
                continue
            }
            let start = position
            let first = row
            while position < tokenIDs.count, tokenIDs[position] == imageTokenID, row < images[image].tokenCount {
                position += 1
                row += 1
            }
            total += position - start - 1
            runs.append(ImageRun(start: start, count: position - start, image: image, featureRow: first))
        }
        let needed = images.reduce(0) { $0 + $1.tokenCount }
        guard total == needed else {
            throw EngineError(
                .invalidRequest,
                "the prompt has \(total) image tokens, its \(images.count) images have \(needed) feature rows; "
                    + "leave image placeholder tokens out of the text and let each image make its own")
        }
        return runs
    }
}
