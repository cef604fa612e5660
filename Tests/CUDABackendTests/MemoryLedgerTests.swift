import CUDABackend
import Tensors
import Testing

struct MemoryLedgerTests {
    @Test func keepsTheMostThereWas() {
        var use = MemoryUse(purpose: "KV cache", now: 0, peak: 0)
        use.change(by: 100)
        use.change(by: 50)
        use.change(by: -120)
        use.change(by: 40)
        #expect(use == MemoryUse(purpose: "KV cache", now: 70, peak: 150))
    }

    @Test(.enabled(if: CUDA.hasDevice, "no GPU here")) func countsWhatIsGivenOutAndTakenBack() throws {
        let backend = try CUDABackend(activationType: .float32, options: CUDA.options, libraries: CUDA.libraries)
        func use(_ purpose: String) -> MemoryUse? { backend.memoryUses.first { $0.purpose == purpose } }
        let before = try #require(backend.memoryUses.first).now
        var buffer: (any DeviceBuffer)? = try backend.allocate(byteCount: 1 << 20, purpose: "test")
        #expect(use("test") == MemoryUse(purpose: "test", now: 1 << 20, peak: 1 << 20))
        #expect(backend.memoryUses.first?.now == before + 1 << 20)
        withExtendedLifetime(buffer) {}
        buffer = nil
        #expect(use("test") == MemoryUse(purpose: "test", now: 0, peak: 1 << 20))
        #expect(backend.memoryUses.first?.now == before)
    }
}
