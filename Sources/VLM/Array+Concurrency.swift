extension Array where Element: Sendable {
    /// Runs `body` for each element, a bounded number at once; the first error cancels the others.
    ///
    /// - Returns: results in the order of the elements.
    func mapConcurrently<Result: Sendable>(
        atOnce limit: Int, _ body: @escaping @Sendable (Int, Element) async throws -> Result
    ) async throws -> [Result] {
        try await withThrowingTaskGroup(of: (Int, Result).self) { group in
            var results = [Result?](repeating: nil, count: count)
            var next = 0
            func start() {
                let (index, element) = (next, self[next])
                next += 1
                group.addTask { (index, try await body(index, element)) }
            }
            while next < Swift.min(count, Swift.max(1, limit)) { start() }
            while let (index, result) = try await group.next() {
                results[index] = result
                if next < count { start() }
            }
            return results.compactMap { $0 }
        }
    }
}
