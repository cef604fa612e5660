/// A post-processor of `tokenizer.json`, as far as it concerns ids: puts special tokens around a text's.
indirect enum PostProcessor: Sendable {
    /// What a template puts in line.
    enum Item: Sendable, Equatable {
        case text
        case tokens([Int32])
    }

    /// TemplateProcessing, BertProcessing and RobertaProcessing for one text.
    case template([Item])
    /// ByteLevel: concerns offsets only.
    case none
    case sequence([PostProcessor])

    func apply(to ids: [Int32], addSpecialTokens: Bool) -> [Int32] {
        guard addSpecialTokens else { return ids }
        switch self {
        case .none: return ids
        case .sequence(let steps): return steps.reduce(ids) { $1.apply(to: $0, addSpecialTokens: true) }
        case .template(let items):
            return items.flatMap { item in
                switch item {
                case .text: ids
                case .tokens(let tokens): tokens
                }
            }
        }
    }
}
