/// Reads a value out of the pieces of an answer.
package struct ExtractionReader<Value: Extractable> {
    private var json = PartialJSON(schema: Value.schema)
    private var text = ""
    private var last: [UInt8] = []

    package init() {}

    /// What is known after a piece, when that has changed.
    package mutating func read(_ piece: String) -> Value.Partial? {
        text += piece
        json.append(piece.utf8)
        guard let document = json.document, document != last else { return nil }
        last = document
        // A type that decodes more strictly than its schema says has nothing to show yet; the whole answer will tell.
        return try? ExtractionDecoding.decode(Value.Partial.self, from: document)
    }

    /// The whole value.
    ///
    /// - Parameters:
    ///   - endedByLength: whether the answer ended because no more tokens were allowed.
    ///   - tokenCount: how many it has.
    /// - Throws: ``ExtractionError``.
    package func finish(endedByLength: Bool, tokenCount: Int) throws(ExtractionError) -> (value: Value, partial: Value.Partial) {
        do {
            let bytes = Array(text.utf8)
            return (
                try ExtractionDecoding.decode(Value.self, from: bytes),
                try ExtractionDecoding.decode(Value.Partial.self, from: bytes)
            )
        } catch {
            if endedByLength, !json.isComplete, !json.isBroken { throw .cutShort(text, tokenCount: tokenCount) }
            throw .unreadable(text, as: Value.self, error)
        }
    }
}
