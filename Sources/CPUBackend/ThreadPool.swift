package import CCPUKernels

import Tensors

/// Threads that run the pieces of one operation and sleep between operations.
///
/// Work is cut into `count` units that the threads take one by one, so uneven pieces and a core lent to somebody else balance
/// out: cut into a few units per thread. The calling thread works too. One thread drives a pool at a time and units do not
/// start further parallel work. A call allocates nothing.
package final class ThreadPool {
    /// Threads that run units, the calling one counted. Worker indices are below it.
    package let threadCount: Int
    private let pool: OpaquePointer

    /// Starts `threadCount - 1` threads.
    ///
    /// - Throws: ``TensorError`` of kind `deviceFailure` when the system refuses one.
    package init(threadCount: Int) throws {
        let threads = max(1, min(threadCount, 1024))
        guard let pool = vlm_pool_create(Int32(threads)) else {
            throw TensorError(
                .deviceFailure, operation: "thread pool", detail: "the system refused \(threads) threads; ask for fewer")
        }
        self.threadCount = threads
        self.pool = pool
    }

    deinit { vlm_pool_destroy(pool) }

    /// Runs a C kernel for every unit below `count`; `context` points to its arguments.
    package func run(_ count: Int, _ context: UnsafeMutableRawPointer, _ task: @escaping vlm_task) {
        precondition(count >= 0 && count <= UInt32.max, "too many units of work")
        let ran = vlm_pool_run(pool, count, task, context)
        precondition(ran, "parallel work started inside parallel work")
    }

    /// Runs a matrix multiplication.
    func run(_ call: inout vlm_linear_call) {
        let ran = vlm_linear(pool, Int32(threadCount), &call)
        precondition(ran, "parallel work started inside parallel work")
    }

    /// Runs `body(unit, worker)` for every unit below `count`. `worker` is below ``threadCount`` and belongs to one running unit
    /// at a time, so it selects scratch memory.
    package func parallelFor(_ count: Int, _ body: (_ unit: Int, _ worker: Int) -> Void) {
        precondition(count >= 0 && count <= UInt32.max, "too many units of work")
        let ran = runClosure(pool, count, body)
        precondition(ran, "parallel work started inside parallel work")
    }

    /// Cuts `count` items into contiguous ranges of a multiple of `grain` items, a few per thread, and runs `body(range, worker)` on each.
    package func parallelRanges(_ count: Int, grain: Int = 1, _ body: (_ range: Range<Int>, _ worker: Int) -> Void) {
        guard count > 0 else { return }
        let grains = (count + grain - 1) / grain
        let units = min(grains, threadCount == 1 ? 1 : 4 * threadCount)
        if units == 1 { return body(0..<count, 0) }
        parallelFor(units) { unit, worker in
            let start = grains * unit / units * grain
            let end = min(count, grains * (unit + 1) / units * grain)
            if start < end { body(start..<end, worker) }
        }
    }
}

/// Implemented in pool_closure.c with Swift's calling convention: a closure that C imports would be copied to the heap in each call.
@_silgen_name("vlm_pool_run_closure")
private func runClosure(_ pool: OpaquePointer, _ count: Int, _ body: (_ unit: Int, _ worker: Int) -> Void) -> Bool
