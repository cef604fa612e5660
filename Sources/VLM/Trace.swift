import Checkpoints
package import Engine
package import Models

/// What a model was given for a prompt and what it made of it.
package struct Trace: Sendable {
    package let tokenIDs: [Int32]
    package let images: [ProcessedImage]
    /// `[image tokens, D]` of all images together, nil without images.
    package let imageFeatures: OutputMatrix?
    /// `[tokens, V]`
    package let logits: OutputMatrix

    /// Writes `input_ids` `[T]`, `pixel_values` and `image_grid_thw` in the reference's shapes, `image_features` `[N, D]` and `logits`
    /// `[T, V]` in float32.
    package func write(to path: String) throws {
        var writer = SafetensorsWriter()
        writer.add("input_ids", [tokenIDs.count], tokenIDs.map { Int64($0) })
        if let first = images.first {
            // Images of one prompt differ in their first axis only: patches or tiles.
            let rows = images.reduce(0) { $0 + $1.dimensions[0] }
            writer.add("pixel_values", [rows] + first.dimensions.dropFirst(), images.flatMap(\.pixels))
            if !first.grid.isEmpty {
                writer.add("image_grid_thw", [images.count, first.grid.count], images.flatMap { $0.grid.map { Int64($0) } })
            }
        }
        if let imageFeatures { writer.add("image_features", [imageFeatures.rows, imageFeatures.columns], imageFeatures.values) }
        writer.add("logits", [logits.rows, logits.columns], logits.values)
        try writer.write(to: path)
    }
}

extension Pipeline {
    /// Runs a prompt without generating and keeps what passes between the stages.
    package func trace(_ prompt: Prompt) async throws -> Trace {
        let request = try await prepare(prompt, generation: GenerationConfig(maxNewTokens: 0, outputLogits: .all))
        let images = request.images
        var features: OutputMatrix?
        if !images.isEmpty {
            let each = try await engine.withCore { try $0.imageFeatures(images) }
            features = each.dropFirst().reduce(into: each.first) { all, next in
                all?.values += next.values
                all?.rows += next.rows
            }
        }
        for try await piece in engine.stream(request) {
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            guard let logits = response.logits else { break }
            return Trace(tokenIDs: request.tokenIDs, images: images, imageFeatures: features, logits: logits)
        }
        throw CancellationError()
    }
}
