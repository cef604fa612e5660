import CCUDAKernels
package import Tensors

/// Runs models on one NVIDIA GPU.
///
/// All work goes to one stream in the order of the calls. Kernels are compiled when they are first asked for; see ``KernelLibrary``.
package final class CUDABackend {
    package let device: Device
    package let activationType: DType
    package var cacheType: DType { activationType }

    init(device: Device, activationType: DType) {
        self.device = device
        self.activationType = activationType
    }
}
