/// How a step's tokens are shared among the prompts that are not computed yet.
///
/// First come, first served. Only a prompt too long to be finished in this step leaves half of it to those behind that can be: a short
/// question does not wait for a long document, and the document takes at most twice as long.
package enum PrefillPolicy {
    /// Tokens of each prompt to compute in this step.
    ///
    /// - Parameters:
    ///   - remaining: tokens each prompt still needs, in the order of their turns.
    ///   - budget: most tokens of the step.
    package static func shares(_ remaining: [Int], budget: Int) -> [Int] {
        var shares = [Int](repeating: 0, count: remaining.count)
        var left = budget
        for index in remaining.indices where left > 0 {
            if remaining[index] > left {
                // Not to be finished in this step: those behind that fit half of what is left go along.
                var spare = left / 2
                for later in remaining.indices[(index + 1)...] where remaining[later] <= spare {
                    shares[later] = remaining[later]
                    spare -= remaining[later]
                    left -= remaining[later]
                }
                shares[index] = left
                return shares
            }
            shares[index] = remaining[index]
            left -= remaining[index]
        }
        return shares
    }
}
