import CPUBackend
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct ThreadPoolTests {
    @Test(arguments: [1, 2, 3, 8])
    func runsEveryUnitOnce(threads: Int) throws {
        let pool = try ThreadPool(threadCount: threads)
        // Many small jobs, so that workers meet new jobs while they spin and the last one after they slept.
        for count in [0, 1, 2, 7, 64, 1000] + Array(repeating: 5, count: 2000) {
            let counts = UnsafeMutablePointer<Int>.allocate(capacity: count + 1)
            defer { counts.deallocate() }
            counts.initialize(repeating: 0, count: count + 1)
            pool.parallelFor(count) { unit, worker in
                precondition(worker < threads)
                counts[unit] += 1
            }
            for unit in 0..<count { #expect(counts[unit] == 1) }
            #expect(counts[count] == 0)
        }
    }

    @Test func wakesWorkersThatSleep() throws {
        let pool = try ThreadPool(threadCount: 2)
        for _ in 0..<20 {
            usleep(2000)  // longer than the spin
            let workers = UnsafeMutablePointer<Int>.allocate(capacity: 2)
            defer { workers.deallocate() }
            workers.initialize(repeating: -1, count: 2)
            pool.parallelFor(2) { unit, worker in
                workers[unit] = worker
                usleep(500)  // long enough for the other thread to take the second unit
            }
            #expect(workers[0] >= 0 && workers[1] >= 0)
        }
    }

    @Test(arguments: [1, 2, 3])
    func rangesCoverEveryItemOnce(threads: Int) throws {
        let pool = try ThreadPool(threadCount: threads)
        for (count, grain) in [(0, 1), (1, 1), (5, 2), (100, 7), (1000, 64), (3, 100)] {
            let counts = UnsafeMutablePointer<Int>.allocate(capacity: count + 1)
            defer { counts.deallocate() }
            counts.initialize(repeating: 0, count: count + 1)
            pool.parallelRanges(count, grain: grain) { range, _ in
                precondition(range.lowerBound % grain == 0)
                for item in range { counts[item] += 1 }
            }
            for item in 0..<count { #expect(counts[item] == 1) }
        }
    }
}
