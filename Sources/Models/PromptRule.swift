/// How a family's prompt names its images: text in, text out, before tokenising, as transformers' processors do.
package struct PromptRule: Sendable {
    /// What the chat template writes once per image, and what ``expansion`` replaces.
    package let imagePlaceholder: String
    /// The token whose run of ``ProcessedImage/tokenCount`` ids stands for the feature rows.
    package let imageToken: String
    /// Id of ``imageToken`` when the configuration gives it; otherwise the tokenizer knows.
    package let configuredImageTokenID: Int32?
    /// When not nil, the chat template takes a message's content as one string, and each image in it is this text; content lists
    /// are joined before rendering (`InternVLChatModel`, whose tokenizers bring templates for text).
    package let imageContent: String?
    /// Jinja source to use when the checkpoint has no chat template of its own; nil when it must have one.
    package let fallbackTemplate: String?
    /// Whether the tokenizer does not know ``imageToken``: text is cut there and its parts are tokenised on their own. Rows of images then
    /// have the id of the unknown token, or ``configuredImageTokenID`` where there is none.
    package let imageTokenIsForeign: Bool
    /// The text that replaces one placeholder.
    package let expansion: @Sendable (ProcessedImage) -> String

    package init(
        imagePlaceholder: String, imageToken: String, configuredImageTokenID: Int32?, imageContent: String? = nil,
        fallbackTemplate: String? = nil, imageTokenIsForeign: Bool = false,
        expansion: @escaping @Sendable (ProcessedImage) -> String
    ) {
        self.imagePlaceholder = imagePlaceholder
        self.imageToken = imageToken
        self.configuredImageTokenID = configuredImageTokenID
        self.imageContent = imageContent
        self.fallbackTemplate = fallbackTemplate
        self.imageTokenIsForeign = imageTokenIsForeign
        self.expansion = expansion
    }

    /// The id whose runs are feature rows.
    ///
    /// - Parameter lookup: the tokenizer's id of an exact token.
    /// - Throws: ``ModelError`` when neither the configuration nor the tokenizer knows the token.
    package func imageTokenID(lookup: (String) -> Int32?) throws(ModelError) -> Int32 {
        if imageTokenIsForeign, let unknown = lookup("<unk>") { return unknown }
        if let configuredImageTokenID { return configuredImageTokenID }
        guard let id = lookup(imageToken) else {
            throw ModelError(
                .configuration, subject: imageToken,
                detail: "the tokenizer has no such token, which marks image features; use the tokenizer files of this checkpoint")
        }
        return id
    }
}
