import CCUDA
import Tensors

/// The kernels of one device, compiled (or taken from the disk) when first asked for.
///
/// Used by the thread that owns the backend.
final class KernelLibrary {
    private struct Name: Hashable {
        let variant: KernelVariant
        let function: String
    }

    private let context: DeviceContext
    private let source: KernelSource
    var target: KernelTarget { source.target }
    private var modules: [KernelVariant: OpaquePointer] = [:]
    private var kernels: [Name: Kernel] = [:]

    init(context: DeviceContext, source: KernelSource) {
        self.context = context
        self.source = source
    }

    deinit {
        context.makeCurrent()
        // Kernels may still be running.
        _ = context.cuda.api.pointee.cuStreamSynchronize(context.stream)
        for module in modules.values { _ = context.cuda.api.pointee.cuModuleUnload(module) }
    }

    /// The function `name` of a variant.
    func kernel(_ name: String, of variant: KernelVariant) throws -> Kernel {
        let key = Name(variant: variant, function: name)
        if let kernel = kernels[key] { return kernel }
        let module = try module(variant)
        var function: OpaquePointer?
        let status = context.whileRecordingToo {
            let api = context.cuda.api
            let status = api.pointee.cuModuleGetFunction(&function, module, name)
            // Asking for anything makes a lazy driver bring the code to the device now, and not in the middle of a recording.
            var registers: Int32 = 0
            return status == 0
                ? api.pointee.cuFuncGetAttribute(&registers, Int32(VLM_CU_FUNCTION_REGISTERS), function) : status
        }
        guard status == 0, let function else {
            throw context.cuda.error(status, call: "cuModuleGetFunction", kernel: "\(name) of \(variant)")
        }
        // A multiprocessor gives a kernel a part of its memory as shared memory, by default what one block needs, and has to be empty to
        // change it. With all of it for every kernel, more blocks fit and a kernel can start where the one before it still runs. It is a
        // hint; whether it is taken does not matter.
        _ = context.cuda.api.pointee.cuFuncSetAttribute(function, Int32(VLM_CU_FUNCTION_SHARED_CARVEOUT), 100)
        let kernel = Kernel(name: name, variant: variant, handle: function)
        kernels[key] = kernel
        return kernel
    }

    /// Starts compiling variants on other threads, so that their first use need not wait for one after the other.
    func prepare(_ variants: [KernelVariant]) { source.prepare(variants.filter { modules[$0] == nil }) }

    private func module(_ variant: KernelVariant) throws -> OpaquePointer {
        if let module = modules[variant] { return module }
        return try load(source.code(of: variant), variant)
    }

    @discardableResult
    private func load(_ code: [UInt8], _ variant: KernelVariant) throws -> OpaquePointer {
        var module: OpaquePointer?
        let status = context.whileRecordingToo {
            code.withUnsafeBytes { context.cuda.api.pointee.cuModuleLoadDataEx(&module, $0.baseAddress, 0, nil, nil) }
        }
        guard status == 0, let module else {
            throw context.cuda.error(status, call: "cuModuleLoadDataEx", kernel: "\(variant) for \(source.target)")
        }
        modules[variant] = module
        return module
    }
}
