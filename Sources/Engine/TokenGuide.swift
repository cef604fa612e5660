/// A rule for what a response may be, such as a compiled grammar; many requests may share it.
package protocol TokenGuide: Sendable {
    /// Follows one response from its beginning.
    ///
    /// - Parameter stopTokens: the request's, which may come where the response may end.
    func makeMatcher(stopTokens: Set<Int32>) -> any TokenMatcher
}

/// A response's place in a ``TokenGuide``'s rule.
package protocol TokenMatcher {
    /// Writes which tokens may come next: bit i of word w, of `⌈V / 32⌉` words, is set when token 32 w + i may.
    mutating func fillMask(_ mask: UnsafeMutableBufferPointer<UInt32>)
    /// Takes the next token, which is no stop token; returns whether the rule allows it.
    mutating func accept(_ token: Int32) -> Bool
    /// Whether the response may end here.
    var mayEnd: Bool { get }
    /// Whether nothing but the end may come.
    var mustEnd: Bool { get }
}
