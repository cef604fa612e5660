import CPUBackend
import Engine
import TestKit
import Testing

/// The self-test of kernels: that right backends pass and that it can tell a difference.
struct KernelSelfTestTests {
    @Test func theCPUAgreesWithPlainLoops() throws {
        for mode in [CPUBackend.Mode.exact, .fast] {
            let outcomes = try KernelSelfTest(reference: ReferenceBackend(), candidate: try CPUBackend(threads: 1, mode: mode))
                .run()
            #expect(outcomes.count > 100)
            for outcome in outcomes where !outcome.passed {
                Issue.record("\(mode) \(outcome.operation): \(outcome.relativeError) \(outcome.error.map { "\($0)" } ?? "")")
            }
        }
    }

    /// Penalties, masks and draws of the self-test mean to a device what they mean to the host.
    @Test func choicesOfADeviceAreComparedWithTheHosts() throws {
        let outcomes = try KernelSelfTest(reference: ReferenceBackend(), candidate: LateBackend())
            .run(matching: "sample ").filter { $0.operation.hasPrefix("sample ") }
        #expect(outcomes.count >= 10)
        for outcome in outcomes where outcome.relativeError != 0 {
            Issue.record("\(outcome.operation): \(outcome.relativeError) \(outcome.error.map { "\($0)" } ?? "")")
        }
    }

    @Test func roundingIsSeen() throws {
        let test = KernelSelfTest(
            reference: ReferenceBackend(), candidate: try CPUBackend(threads: 1, mode: .fast), bound: 1e-7)
        #expect(try test.run(matching: "linear rmsNormed").allSatisfy { !$0.passed && $0.error == nil })
    }

    @Test func operationsAreChosenByName() throws {
        let backend = try CPUBackend(threads: 1, mode: .exact)
        var reported = 0
        let outcomes = try KernelSelfTest(reference: backend, candidate: backend).run(matching: "scatterRows") { _ in
            reported += 1
            return false
        }
        #expect(outcomes.count == 1 && reported == 1)
        #expect(outcomes[0].operation.hasPrefix("scatterRows") && outcomes[0].relativeError == 0)
    }
}
