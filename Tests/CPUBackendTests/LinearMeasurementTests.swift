import CPUBackend
import Testing

/// The measurements `vlm doctor` prints are of the right order; how fast the machine is, is not a test.
@Suite struct LinearMeasurementTests {
    @Test(arguments: InstructionSet.available)
    func ceilingsArePossible(level: InstructionSet) throws {
        let backend = try CPUBackend(threads: 2, mode: .fast, instructionSet: level)
        let ceilings = try backend.ceilings(threads: 1, bytes: 32 << 20, trials: 2)
        #expect(ceilings.threads == 1)
        // Loops that the compiler removed would show more than any core can do, loops that do nothing less than any does.
        #expect(ceilings.readBandwidth > 1e8 && ceilings.readBandwidth < 1e12)
        #expect(ceilings.float32 > 1e8 && ceilings.float32 < 1e12)
        #expect(ceilings.bfloat16 > 1e8 && ceilings.bfloat16 < 2e12)
    }

    @Test func linearIsMeasured() throws {
        let backend = try CPUBackend(threads: 1, mode: .fast)
        let measured = try backend.measureLinear(rows: 3, outFeatures: 100, inFeatures: 64, footprint: 1 << 16, seconds: 0.01)
        #expect(measured.best > 0 && measured.best <= measured.seconds)
        #expect(measured.rate == 2 * 3 * 100 * 64 / measured.best)
        #expect(measured.bandwidth == 100 * 64 * 2 / measured.best)
    }
}
