/// What the penalties look at: the tokens of prompt and response, and how often the response has each.
package struct TokenHistory {
    /// Tokens of prompt and response, each once: what the repetition penalty looks at.
    package private(set) var seen: [Int32] = []
    private var seenSet: Set<Int32> = []
    /// How often the response has each of its tokens: what presence and frequency penalty look at.
    package private(set) var counts: [Int32: Int] = [:]

    package init() {}

    /// Adds a token of the prompt.
    package mutating func read(_ token: Int32) {
        if seenSet.insert(token).inserted { seen.append(token) }
    }

    /// Adds a token of the response.
    package mutating func generated(_ token: Int32) {
        read(token)
        counts[token, default: 0] += 1
    }
}
