import CCUDA
import Foundation

/// Gives the code of kernel variants: from the disk when it was compiled before, else compiled now. Any thread may ask.
final class KernelSource: @unchecked Sendable {  // what changes is guarded by `condition`
    let compiler: KernelCompiler
    let target: KernelTarget
    private let cache: KernelCache?

    private enum State {
        /// Some thread is at it.
        case compiling
        case done(Result<[UInt8], any Error>)
    }
    private let condition = NSCondition()
    /// Variants asked for ahead of their use, until they are used.
    private var states: [KernelVariant: State] = [:]

    init(compiler: KernelCompiler, target: KernelTarget, cache: KernelCache?) {
        self.compiler = compiler
        self.target = target
        self.cache = cache
    }

    /// - Throws: ``CUDAError`` when NVRTC is missing or does not know any architecture that the GPU runs.
    convenience init(libraries: CUDALibraries, options: CUDAOptions, major: Int, minor: Int) throws {
        let compiler = try libraries.compiler.get()
        self.init(
            compiler: compiler, target: try compiler.target(major: major, minor: minor),
            cache: options.cacheFolder.map { KernelCache(folder: $0, compilerVersion: compiler.version) })
    }

    private func make(_ variant: KernelVariant) throws -> [UInt8] {
        if let code = cache?.code(of: variant, target: target) { return code }
        let code = try compiler.compile(variant, target: target)
        cache?.store(code, of: variant, target: target)
        return code
    }

    /// The code; waits for it when it is being made ahead.
    func code(of variant: KernelVariant) throws -> [UInt8] {
        condition.lock()
        while case .compiling? = states[variant] { condition.wait() }
        let ready = states.removeValue(forKey: variant)
        condition.unlock()
        if case .done(let result)? = ready { return try result.get() }
        return try make(variant)
    }

    /// The code of several variants, made on as many threads as there are cores.
    func code(of variants: [KernelVariant]) throws -> [[UInt8]] {
        try Parallel.map(variants) { try self.code(of: $0) }
    }

    /// Starts making code that will be asked for soon and returns at once. Errors wait for who asks.
    func prepare(_ variants: [KernelVariant]) {
        condition.lock()
        let new = variants.filter { states[$0] == nil }
        for variant in new { states[variant] = .compiling }
        condition.unlock()
        for variant in new {
            DispatchQueue.global(qos: .utility).async { [self] in
                let result = Result { try make(variant) }
                condition.lock()
                states[variant] = .done(result)
                condition.broadcast()
                condition.unlock()
            }
        }
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
