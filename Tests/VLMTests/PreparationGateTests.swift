import Synchronization
import Testing
import VLM

/// A value that several tasks change.
final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    init(_ value: Value) { mutex = Mutex(value) }

    var value: Value { mutex.withLock { $0 } }

    func change(_ body: (inout Value) -> Void) { mutex.withLock { body(&$0) } }
}

struct PreparationGateTests {
    /// Waits until so many stand before the gate.
    private func wait(for count: Int, at gate: PreparationGate) async {
        while gate.usage.waiting != count { await Task.yield() }
    }

    @Test func placesAndBytesAreBounded() async throws {
        let gate = PreparationGate(places: 2, byteLimit: 100)
        let inside = Shared((now: 0, most: 0, bytes: 0, mostBytes: 0))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                let bytes = index % 7 * 12
                group.addTask {
                    try await gate.enter(bytes: bytes)
                    inside.change {
                        $0.now += 1
                        $0.most = max($0.most, $0.now)
                        $0.bytes += bytes
                        $0.mostBytes = max($0.mostBytes, $0.bytes)
                    }
                    await Task.yield()
                    inside.change {
                        $0.now -= 1
                        $0.bytes -= bytes
                    }
                    gate.leave()
                    gate.release(bytes: bytes)
                }
            }
            try await group.waitForAll()
        }
        #expect(inside.value.most == 2)
        #expect(inside.value.mostBytes <= 100)
        #expect(gate.usage.bytes == 0 && gate.usage.waiting == 0)
    }

    @Test func whatIsLargerThanTheLimitGoesAlone() async throws {
        let gate = PreparationGate(places: 4, byteLimit: 100)
        try await gate.enter(bytes: 500)
        let second = Task { try await gate.enter(bytes: 1) }
        await wait(for: 1, at: gate)
        gate.leave()
        #expect(gate.usage.waiting == 1)
        gate.release(bytes: 500)
        try await second.value
        #expect(gate.usage.bytes == 1)
    }

    @Test func heldBytesKeepOthersOut() async throws {
        let gate = PreparationGate(places: 4, byteLimit: 100)
        try await gate.enter()
        gate.hold(bytes: 100)
        gate.leave()
        let next = Task { try await gate.enter() }
        await wait(for: 1, at: gate)
        gate.release(bytes: 1)
        try await next.value
    }

    @Test func priorityThenOrder() async throws {
        let gate = PreparationGate(places: 1, byteLimit: 100)
        try await gate.enter()
        let order = Shared<[String]>([])
        var tasks: [Task<Void, any Error>] = []
        for (index, (name, priority)) in [("a", 0), ("b", 0), ("c", 5), ("d", -1), ("e", 5)].enumerated() {
            tasks.append(
                Task {
                    try await gate.enter(priority: priority)
                    order.change { $0.append(name) }
                    gate.leave()
                })
            await wait(for: index + 1, at: gate)
        }
        gate.leave()
        for task in tasks { try await task.value }
        #expect(order.value == ["c", "e", "a", "b", "d"])
    }

    @Test func theCancelledTakeNothing() async throws {
        let gate = PreparationGate(places: 1, byteLimit: 100)
        try await gate.enter()
        let waiting = Task { try await gate.enter(bytes: 90) }
        await wait(for: 1, at: gate)
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        #expect(gate.usage == (0, 0))
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await gate.enter()
        }
        await #expect(throws: CancellationError.self) { try await late.value }
        gate.leave()
        try await gate.enter()
    }
}
