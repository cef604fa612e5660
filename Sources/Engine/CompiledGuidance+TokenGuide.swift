package import Guidance

extension CompiledGuidance: TokenGuide {
    package func makeMatcher(stopTokens: Set<Int32>) -> any TokenMatcher {
        GuidedText(matcher: makeMatcher(), stopTokens: stopTokens.sorted())
    }
}

/// A response that follows a grammar, with the stop tokens of its request.
private struct GuidedText: TokenMatcher {
    var matcher: GuidanceMatcher
    let stopTokens: [Int32]

    var mayEnd: Bool { matcher.canEnd || matcher.isComplete }
    var mustEnd: Bool { matcher.isComplete }

    mutating func fillMask(_ mask: UnsafeMutableBufferPointer<UInt32>) { matcher.fillMask(mask, stopTokens: stopTokens) }
    mutating func accept(_ token: Int32) -> Bool { matcher.accept(token, stopTokens: stopTokens) }
}
