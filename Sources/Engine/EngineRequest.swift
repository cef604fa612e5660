package import Models

/// One prompt, ready for the engine: tokens with image placeholders expanded, and the processed images in the order of their tokens.
package struct EngineRequest: Sendable {
    package var tokenIDs: [Int32]
    package var images: [ProcessedImage]
    package var generation: GenerationConfig
    /// Place of the prompt in its batch, repeated in the response.
    package var index: Int

    package init(tokenIDs: [Int32], images: [ProcessedImage] = [], generation: GenerationConfig = .init(), index: Int = 0) {
        self.tokenIDs = tokenIDs
        self.images = images
        self.generation = generation
        self.index = index
    }
}
