import CUDABackend
import Foundation

/// What of CUDA this machine has, asked once.
enum CUDA {
    static let options = CUDAOptions(environment: ProcessInfo.processInfo.environment)
    static let libraries = CUDALibraries(options)
    static let hasDriver = libraries.hasDriver
    static let hasCompiler = libraries.hasCompiler
    static let hasDevice = hasCompiler && ((try? CUDABackend.devices(libraries)) ?? []).isEmpty == false
}
