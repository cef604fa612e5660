import Engine
import Testing

/// The host's part of a step, measured with the device stubbed out.
@Suite(.serialized) struct SchedulerOverheadTests {
    /// The aim is 150 µs; the bound leaves room for a busy machine.
    @Test(arguments: [1, 3]) func aStepOf256SequencesCostsTheHostLittle(axes: Int) throws {
        var benchmark = SchedulerBenchmark()
        benchmark.steps = 300
        benchmark.positionAxes = axes
        let result = try benchmark.run()
        print("scheduler: \(result.median) µs a step of \(result.tokens) sequences (p95 \(result.p95), \(axes) axes)")
        #expect(result.tokens == 256)
        #expect(result.median < 1000)
    }
}
