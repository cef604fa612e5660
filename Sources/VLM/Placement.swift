package import CPUBackend
import CUDABackend
import Engine
package import Tensors

/// Where a model runs and the types it computes in, decided before anything large is touched.
package struct Placement: Sendable {
    package let device: Device
    /// Types of activations, of weights as they are stored there, and of cached keys and values.
    package let activationType: DType
    package let weightType: DType
    package let cacheType: DType
    /// Why `auto` took the CPU though there may be a GPU.
    package let note: String?
    /// The opened CUDA libraries, when the device is a GPU.
    let libraries: CUDALibraries?

    /// - Parameters:
    ///   - checkpointType: the 16-bit type of the checkpoint's weights, nil when they are float32.
    /// - Throws: ``EngineError`` or `CUDAError` when what was asked for is not there, saying what to do.
    init(_ config: EngineConfig, checkpointType: DType?, cuda options: CUDAOptions) throws {
        var libraries: CUDALibraries?
        var note: String?
        switch config.device {
        case .cpu: device = .cpu
        case .cuda(let index):
            let opened = CUDALibraries(options)
            try CUDABackend.check(index: index, libraries: opened)
            libraries = opened
            device = .cuda(index)
        case .auto:
            let opened = CUDALibraries(options)
            do {
                try CUDABackend.check(index: 0, libraries: opened)
                libraries = opened
                device = .cuda(0)
            } catch {
                device = .cpu
                note = "running on the CPU: \(error)"
            }
        }
        self.libraries = libraries
        self.note = note

        guard device == .cpu else {
            switch config.dtype {
            case .auto: activationType = checkpointType ?? .float32
            case .float32: activationType = .float32
            case .bfloat16: activationType = .bfloat16
            case .float16: activationType = .float16
            }
            weightType = activationType
            cacheType = activationType
            return
        }
        activationType = .float32
        switch config.dtype {
        case .float32: weightType = .float32
        case .auto: weightType = checkpointType == nil ? .float32 : .bfloat16
        case .bfloat16: weightType = .bfloat16
        case .float16:
            throw EngineError(
                .unsupportedFeature, "the CPU computes in float32 or bfloat16; use --dtype bfloat16, or auto, for this checkpoint"
            )
        }
        cacheType = weightType
    }

    /// How the CPU computes: exactly in float32, or fast in bfloat16.
    package var cpuMode: CPUBackend.Mode { weightType == .float32 ? .exact : .fast }

    /// In words: `cpu, bfloat16`.
    package var description: String { "\(device), \(weightType.rawValue)" }
}
