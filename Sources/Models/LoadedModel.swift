package import Layers

/// A model ready to run: what the engine needs to know of a family.
package struct LoadedModel {
    /// Name of the family in the registry.
    package let family: String
    package let language: any LanguageModel
    /// nil for text-only models; an image is then an error upstream.
    package let vision: (any VisionEncoder)?
    package let imageProcessor: (any ImageProcessor)?
    package let promptRule: PromptRule?
    /// Tokens that end a response, from generation_config.json, else config.json.
    package let eosTokenIDs: [Int32]
    /// How prompt tokens get their rotary positions.
    package let positionRule: PositionRule
    /// Which prompt tokens see later ones.
    package let spanRule: SpanRule

    package init(
        family: String, language: any LanguageModel, vision: (any VisionEncoder)? = nil,
        imageProcessor: (any ImageProcessor)? = nil, promptRule: PromptRule? = nil, eosTokenIDs: [Int32],
        positionRule: PositionRule = .sequential, spanRule: SpanRule = .causal
    ) {
        self.family = family
        self.language = language
        self.vision = vision
        self.imageProcessor = imageProcessor
        self.promptRule = promptRule
        self.eosTokenIDs = eosTokenIDs
        self.positionRule = positionRule
        self.spanRule = spanRule
    }

    /// Rotary positions `[axes][T]` of a prompt and the position of the first generated token; later tokens count on by one on
    /// all axes.
    ///
    /// - Throws: ``ModelError`` of kind `promptMismatch` when the runs of image tokens are not those of `images`.
    package func positions(
        tokenIDs: [Int32], images: [ProcessedImage]
    ) throws(ModelError) -> (positions: [[Int32]], nextPosition: Int32) {
        try positionRule.positions(tokenIDs: tokenIDs, images: images)
    }

    /// Scalars in all weights.
    package var parameterCount: Int { language.parameterCount + (vision?.parameterCount ?? 0) }
}
