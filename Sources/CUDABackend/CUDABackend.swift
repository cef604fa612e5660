import CCUDA
import CCUDAKernels
package import Tensors

/// Runs models on one NVIDIA GPU.
///
/// All work goes to one stream in the order of the calls. Kernels are compiled when they are first asked for; see ``KernelLibrary``.
/// One thread at a time drives a backend; memory it gave out may be let go on any.
package final class CUDABackend {
    package let device: Device
    package let activationType: DType
    package var cacheType: DType { activationType }
    package let properties: DeviceProperties

    let options: CUDAOptions
    let libraries: CUDALibraries
    let context: DeviceContext
    let cuda: CUDADriver
    /// `CUstream`
    let stream: OpaquePointer?
    let kernels: KernelLibrary
    /// Where the device's time goes, when somebody asked.
    let profile: KernelProfile?
    /// Weights whose outputs are scaled once they are there.
    var pendingScales: [PendingScale] = []
    /// Whether operations are being recorded: nothing may be allocated or waited for.
    var isRecording = false

    private let scratchBuffers: [CUDABuffer]
    /// The kernels launched last, for the attribution of faults that are told late.
    private var recent: [Kernel?] = Array(repeating: nil, count: 16)
    private var launches = 0
    private let canOverlap: Bool
    /// Products by NVIDIA's library, when it is there.
    private(set) lazy var blasLt = BlasLt(libraries.blas)
    /// Kernels for products of more than 16 rows, where they can do them: to measure or test them. nil for those expected to be fastest.
    package var linearPath: LinearPath?
    /// How shapes were multiplied on Hopper so far.
    let hopperPlans = HopperGEMMPlans()
    /// Host memory that uploads pass through.
    let staging: StagingRing
    /// Weights on their way; nil between loads.
    var loading: WeightLoading?
    /// What loads have found since they were last asked.
    var notFinite: [NonFiniteTensor] = []

    /// Opens GPU `index`.
    ///
    /// - Parameters:
    ///   - activationType: float32, float16 or bfloat16.
    ///   - libraries: nil to look for them now.
    /// - Throws: ``CUDAError``; ``TensorError`` for another activation type.
    package init(index: Int = 0, activationType: DType, options: CUDAOptions, libraries: CUDALibraries? = nil) throws {
        guard [.float32, .float16, .bfloat16].contains(activationType) else {
            throw TensorError(
                .unsupported, operation: "CUDA backend",
                detail: "activations can be float32, float16 or bfloat16, not \(activationType.rawValue)")
        }
        let libraries = libraries ?? CUDALibraries(options)
        let cuda = try libraries.driver.get()
        let (device, properties) = try CUDABackend.open(cuda, index: index)
        try CUDABackend.requireCapability(properties)
        self.options = options
        self.libraries = libraries
        self.cuda = cuda
        self.device = .cuda(index)
        self.activationType = activationType
        self.properties = properties
        let context = try DeviceContext(cuda, device: device, properties: properties)
        self.context = context
        profile = options.isProfiling ? KernelProfile(context) : nil
        stream = context.stream
        let source = try KernelSource(libraries: libraries, options: options, major: properties.major, minor: properties.minor)
        kernels = KernelLibrary(context: context, source: source)
        // Drivers before CUDA 12.3 cannot record overlapping launches.
        canOverlap = properties.major >= 9 && cuda.version >= 12_030
        staging = StagingRing(context)
        scratchBuffers = try Scratch.allCases.map {
            let buffer = try CUDABuffer(context, byteCount: $0.byteCount, purpose: "scratch (\($0))")
            try cuda.check(
                cuda.api.pointee.cuMemsetD8Async(buffer.pointer, 0, buffer.byteCount, context.stream), "cuMemsetD8Async")
            return buffer
        }
    }

    /// Bytes that a backend comes to need on the device after it was made: the code of kernels, recorded work, and what weights pass
    /// through. Memory plans leave them free.
    package static let reserveBytes = 384 << 20

    /// All bytes that a backend needs on the device beside what it is asked for.
    package static var overheadBytes: Int { Scratch.allCases.reduce(reserveBytes) { $0 + $1.byteCount } }

    /// What ``CUDAOptions/isProfiling`` measured so far.
    package var timeReport: String? { profile?.report() }

    // MARK: Kernels

    /// Starts compiling what every model needs, and attention for these head sizes, beside whatever comes next (loading weights).
    package func prepareKernels(headSizes: [Int]) {
        kernels.prepare(
            KernelVariant.all(kernels.target).filter { variant in
                // The loader tells types apart itself, and logits are float32 for every model.
                guard variant.file != .load, variant.file != .sampling else { return variant.element == .float32 }
                return variant.element == activationType && (variant.headSize == 0 || headSizes.contains(variant.headSize))
            })
    }

    /// The function `name` of a program, compiled when it is asked for first; cheap after that.
    ///
    /// - Parameter element: nil for the activation type.
    func kernel(
        _ file: KernelFile, _ name: String, headSize: Int = 0, option: Int = 0, element: DType? = nil
    ) throws -> Kernel {
        try kernels.kernel(
            name, of: KernelVariant(file: file, element: element ?? activationType, headSize: headSize, option: option))
    }

    /// Starts a kernel with one parameter structure, passed by value.
    ///
    /// - Parameters:
    ///   - grid: an empty grid starts nothing.
    ///   - overlaps: the kernel calls `wait_for_previous` before it touches what others write; it may then start early on GPUs that can.
    /// - Throws: ``CUDAError``, perhaps about an earlier kernel.
    func launch<P>(
        _ kernel: Kernel, _ grid: Grid, block: Int, sharedBytes: Int = 0, cluster: Int = 1, overlaps: Bool = false,
        _ parameters: P
    ) throws {
        if loading != nil { try settle() }
        try submit(
            kernel, grid, block: block, sharedBytes: sharedBytes, cluster: cluster, overlaps: overlaps, parameters)
    }

    /// ``launch(_:_:block:sharedBytes:cluster:overlaps:_:)`` without waiting for weights that are on their way.
    func submit<P>(
        _ kernel: Kernel, _ grid: Grid, block: Int, sharedBytes: Int = 0, cluster: Int = 1, overlaps: Bool = false,
        _ parameters: P
    ) throws {
        guard let profile, !isRecording else {
            return try start(
                kernel, grid, block: block, sharedBytes: sharedBytes, cluster: cluster, overlaps: overlaps, parameters)
        }
        try profile.measure("\(kernel.description) grid \(grid.x)x\(grid.y)x\(grid.z)") {
            try start(kernel, grid, block: block, sharedBytes: sharedBytes, cluster: cluster, overlaps: false, parameters)
        }
    }

    private func start<P>(
        _ kernel: Kernel, _ grid: Grid, block: Int, sharedBytes: Int = 0, cluster: Int = 1, overlaps: Bool = false,
        _ parameters: P
    ) throws {
        guard grid.x > 0, grid.y > 0, grid.z > 0 else { return }
        context.makeCurrent()
        if sharedBytes > kernel.sharedBytes { try allow(sharedBytes, kernel) }
        recent[launches & 15] = kernel
        launches &+= 1
        let shape = vlm_cuda_launch_shape(
            grid_x: UInt32(truncatingIfNeeded: grid.x), grid_y: UInt32(truncatingIfNeeded: grid.y),
            grid_z: UInt32(truncatingIfNeeded: grid.z), block: UInt32(truncatingIfNeeded: block),
            shared_bytes: UInt32(truncatingIfNeeded: sharedBytes), cluster: UInt32(truncatingIfNeeded: cluster),
            overlaps: overlaps && canOverlap)
        let status = withUnsafePointer(to: parameters) {
            vlm_cuda_launch(cuda.api, kernel.handle, shape, stream, $0, MemoryLayout<P>.size)
        }
        guard status == 0 else {
            let sizes = "grid \(grid.x)x\(grid.y)x\(grid.z), block \(block), \(sharedBytes) bytes shared, cluster \(cluster)"
            throw cuda.error(
                status, call: "cuLaunchKernelEx", kernel: "\(kernel.description), \(sizes)", recent: recentKernels(1))
        }
        if options.isSynchronous, !isRecording {
            let status = cuda.api.pointee.cuStreamSynchronize(stream)
            guard status == 0 else { throw cuda.error(status, call: "cuStreamSynchronize", kernel: kernel.description) }
        }
    }

    private func allow(_ sharedBytes: Int, _ kernel: Kernel) throws {
        let status = cuda.api.pointee.cuFuncSetAttribute(
            kernel.handle, Int32(VLM_CU_FUNCTION_MAX_DYNAMIC_SHARED_BYTES), Int32(clamping: sharedBytes))
        guard status == 0 else {
            throw cuda.error(
                status, call: "cuFuncSetAttribute",
                kernel: "\(kernel.description), \(sharedBytes) bytes shared of \(properties.sharedBytesPerBlock)")
        }
        kernel.sharedBytes = sharedBytes
    }

    /// Descriptions of the kernels launched last, newest first.
    func recentKernels(_ skipped: Int = 0) -> [String] {
        (skipped..<8).compactMap { recent[(launches &- 1 &- $0) & 15]?.description }
    }

    /// Throws when a call did not return success, naming the kernels that may have caused it.
    @inline(__always)
    func check(_ status: Int32, _ call: StaticString) throws {
        guard status == 0 else { throw cuda.error(status, call: "\(call)", recent: recentKernels()) }
    }

    // MARK: Scratch

    /// A fixed buffer on the device; see ``Scratch``.
    func scratch(_ purpose: Scratch) -> (pointer: UnsafeMutableRawPointer, byteCount: Int) {
        let buffer = scratchBuffers[purpose.rawValue]
        return (buffer.pointer, buffer.byteCount)
    }
}
