import CCUDA
import Synchronization

/// Gives the code of kernel variants: from the disk when it was compiled before, else compiled now.
struct KernelSource: Sendable {
    let compiler: KernelCompiler
    let target: KernelTarget
    let cache: KernelCache?

    init(compiler: KernelCompiler, target: KernelTarget, cache: KernelCache?) {
        self.compiler = compiler
        self.target = target
        self.cache = cache
    }

    /// - Throws: ``CUDAError`` when NVRTC is missing or does not know any architecture that the GPU runs.
    init(libraries: CUDALibraries, options: CUDAOptions, major: Int, minor: Int) throws {
        let compiler = try libraries.compiler.get()
        self.init(
            compiler: compiler, target: try compiler.target(major: major, minor: minor),
            cache: options.cacheFolder.map { KernelCache(folder: $0, compilerVersion: compiler.version) })
    }

    func code(of variant: KernelVariant) throws -> [UInt8] {
        if let code = cache?.code(of: variant, target: target) { return code }
        let code = try compiler.compile(variant, target: target)
        cache?.store(code, of: variant, target: target)
        return code
    }

    /// The code of several variants, compiled on as many threads as there are cores.
    func code(of variants: [KernelVariant]) throws -> [[UInt8]] {
        try Parallel.map(variants) { try code(of: $0) }
    }
}

extension CUDALibraries {
    /// Compiles variants (such as ``KernelVariant/all(_:)``) for any target NVRTC knows. Needs no GPU and leaves nothing on disk.
    ///
    /// - Throws: ``CUDAError`` when NVRTC is missing or refuses one.
    package func compile(
        _ variants: [KernelVariant], for target: KernelTarget
    ) throws -> [(variant: KernelVariant, code: [UInt8])] {
        let source = KernelSource(compiler: try compiler.get(), target: target, cache: nil)
        return zip(variants, try source.code(of: variants)).map { (variant: $0.0, code: $0.1) }
    }
}
