import Foundation

/// Work that recurses deeper than a thread of unknown stack size can take.
enum DeepStack {
    /// Address space, of which only what is used becomes memory: 1,000 evaluations need 4 MB in release builds, more in
    /// debug builds.
    private static let bytes = 32 << 20

    private final class Outcome<Value: Sendable>: @unchecked Sendable {
        // Written by the thread before it signals, read by the caller after it was signalled.
        var value: Value?
    }

    /// Runs `body` on a thread of its own with a large stack and waits for it.
    static func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value? {
        let outcome = Outcome<Value>()
        let finished = DispatchSemaphore(value: 0)
        let thread = Thread {
            outcome.value = body()
            finished.signal()
        }
        thread.stackSize = bytes
        thread.start()
        finished.wait()
        return outcome.value
    }
}
