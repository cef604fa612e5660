package import Tensors

/// The CPU as a device: kernels in C for each instruction set, a pool of threads, activations in float32.
///
/// One thread drives a backend; it is not `Sendable`. Memory lives in CPUBackend+Memory.swift, weights in
/// CPUBackend+Weights.swift, matrix multiplication in CPUBackend+Linear.swift, other operations in files of their names.
package final class CPUBackend {
    /// What the backend trades for speed.
    package enum Mode: String, Sendable {
        /// Weights and the KV cache in float32, float32 arithmetic: for comparing with a reference.
        case exact
        /// Weights in bfloat16 with float32 accumulation, KV cache in bfloat16.
        case fast
    }

    package let mode: Mode
    package let instructionSet: InstructionSet
    package let pool: ThreadPool
    let ledger: HostMemoryLedger
    let scratch = AttentionScratch()

    /// Memory for one operation at a time; grows to the largest need and stays, so steady work allocates nothing.
    private var scratchBuffer: (any DeviceBuffer)?

    /// The block of memory that small weights are being placed in, and how much of it is used.
    var weightBlock: (buffer: any DeviceBuffer, used: Int)?

    package let device = Device.cpu
    package let activationType = DType.float32
    package var cacheType: DType { mode == .exact ? .float32 : .bfloat16 }

    /// A backend of its own threads.
    ///
    /// - Parameters:
    ///   - threads: nil for as many as the process has cores.
    ///   - instructionSet: nil for the best; tests force lower ones.
    ///   - ledger: told of all memory.
    /// - Throws: ``TensorError`` when the level is not available here or threads cannot be started.
    package init(
        threads: Int? = nil, mode: Mode, instructionSet: InstructionSet? = nil, ledger: HostMemoryLedger = HostMemoryLedger()
    ) throws {
        let level = instructionSet ?? .best
        guard level.isAvailable else {
            throw TensorError(
                .unsupported, operation: "CPU backend", detail: "this processor cannot run the \(level.rawValue) kernels")
        }
        self.mode = mode
        self.ledger = ledger
        self.instructionSet = level
        pool = try ThreadPool(threadCount: threads ?? CPUFeatures.usableCores)
    }

    /// Uninitialised memory until the next call, aligned to ``Workspace/alignment``.
    ///
    /// - Throws: ``TensorError`` of kind `outOfMemory`.
    func scratch(byteCount: Int) throws -> UnsafeMutableRawPointer {
        if let scratchBuffer, scratchBuffer.byteCount >= byteCount { return scratchBuffer.pointer }
        scratchBuffer = nil
        // Room to grow, so that prompts of slowly rising length do not allocate each time.
        let buffer = try allocate(byteCount: max(byteCount + byteCount / 4, 1 << 16), purpose: "scratch")
        scratchBuffer = buffer
        return buffer.pointer
    }
}
