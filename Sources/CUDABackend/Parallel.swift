import Dispatch
import Synchronization

/// Work shared out to threads.
enum Parallel {
    /// `body` of each element, in order, on as many threads as there are cores; throws the first error.
    static func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ body: @Sendable (Element) throws -> Result
    ) throws -> [Result] {
        let results = Mutex<[Swift.Result<Result, any Error>?]>(Array(repeating: nil, count: elements.count))
        DispatchQueue.concurrentPerform(iterations: elements.count) { index in
            let result = Swift.Result { try body(elements[index]) }
            results.withLock { $0[index] = result }
        }
        return try results.withLock { $0 }.compactMap { try $0?.get() }
    }
}
