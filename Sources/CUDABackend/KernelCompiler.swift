import CCUDA
import CCUDAKernels
import Tensors

/// What programs are compiled for.
package struct KernelTarget: Hashable, Sendable, CustomStringConvertible {
    /// Compute capability times ten: 90 is 9.0.
    let capability: Int
    /// Machine code runs on this capability (and with `a` on no other); PTX is finished by the driver.
    let isMachineCode: Bool

    package init(capability: Int, isMachineCode: Bool = true) {
        self.capability = capability
        self.isMachineCode = isMachineCode
    }

    /// A name such as `sm_90a`, as NVRTC spells it; nil when it is none.
    package init?(_ name: String) {
        guard name.hasPrefix("sm_") else { return nil }
        let digits = name.dropFirst(3)
        guard let number = Int(digits.hasSuffix("a") ? digits.dropLast() : digits), number >= 80 else { return nil }
        self.init(capability: number)
    }

    /// Hopper's own instructions (wgmma, TMA with clusters) need the `a`; nothing else here does.
    package var description: String { "\(isMachineCode ? "sm" : "compute")_\(capability)\(capability == 90 ? "a" : "")" }
}

/// Compiles the embedded programs with NVRTC. Any thread may compile.
final class KernelCompiler: @unchecked Sendable {  // immutable
    private let api: vlm_nvrtc
    let path: String
    /// Such as `13.0`.
    let version: String
    /// Compute capabilities times ten that this NVRTC knows, ascending.
    let capabilities: [Int]

    init(_ table: vlm_nvrtc, path: String) throws(CUDAError) {
        api = table
        self.path = path
        var (major, minor, count): (Int32, Int32, Int32) = (0, 0, 0)
        guard api.nvrtcVersion(&major, &minor) == 0, api.nvrtcGetNumSupportedArchs(&count) == 0, count > 0 else {
            throw CUDAError(
                .missingLibrary, call: "nvrtcVersion", detail: "\(path) does not answer",
                hint: "Install NVRTC of CUDA 12.0 or newer and name its folder in VLM_CUDA_PATH")
        }
        version = "\(major).\(minor)"
        var numbers = [Int32](repeating: 0, count: Int(count))
        guard api.nvrtcGetSupportedArchs(&numbers) == 0 else {
            throw CUDAError(
                .missingLibrary, call: "nvrtcGetSupportedArchs", detail: "\(path) does not answer",
                hint: "Install NVRTC of CUDA 12.0 or newer and name its folder in VLM_CUDA_PATH")
        }
        capabilities = numbers.map(Int.init).sorted()
    }

    /// The best target for a GPU: its own; else the nearest below with the same major version, whose machine code it runs; else PTX
    /// of the newest that is older.
    func target(major: Int, minor: Int) throws(CUDAError) -> KernelTarget {
        let own = 10 * major + minor
        if capabilities.contains(own) { return KernelTarget(capability: own) }
        // Machine code for sm_90a would not run on a later 9.x.
        if let sibling = capabilities.last(where: { $0 / 10 == major && $0 < own && $0 != 90 }) {
            return KernelTarget(capability: sibling)
        }
        if let older = capabilities.last(where: { $0 < own && $0 >= 80 && $0 != 90 }) {
            return KernelTarget(capability: older, isMachineCode: false)
        }
        throw CUDAError(
            .unsupportedArchitecture, call: "nvrtcGetSupportedArchs",
            detail: "NVRTC \(version) compiles for \(capabilities), the GPU is \(major).\(minor)",
            hint: "Install a newer NVRTC and name its folder in VLM_CUDA_PATH")
    }

    /// The options a variant is compiled with.
    static func options(_ variant: KernelVariant, target: KernelTarget) -> [String] {
        let element =
            switch variant.element {
            case .float32: 0
            case .float16: 1
            default: 2
            }
        return [
            "--gpu-architecture=\(target)", "--std=c++17", "-default-device", "-lineinfo", "-DVLM_ELEMENT=\(element)",
            "-DVLM_HEAD_SIZE=\(variant.headSize)", "-DVLM_OPTION=\(variant.option)",
        ]
    }

    /// Machine code (or PTX, zero-terminated) of one variant.
    ///
    /// - Throws: ``CUDAError`` of kind `compilation` with NVRTC's log.
    func compile(_ variant: KernelVariant, target: KernelTarget) throws(CUDAError) -> [UInt8] {
        try compile(variant, target: target, furtherOptions: []).code
    }

    /// The same, with what NVRTC said about it.
    func compile(
        _ variant: KernelVariant, target: KernelTarget, furtherOptions: [String]
    ) throws(CUDAError) -> (code: [UInt8], log: String) {
        var count = 0
        let sources = UnsafeBufferPointer(start: vlm_cuda_sources(&count), count: count)
        guard let main = sources.first(where: { String(cString: $0.name) == variant.file.fileName }) else {
            throw failure("nvrtcCreateProgram", 0, variant, target, log: "\(variant.file.fileName) is not embedded")
        }
        let headers = sources.filter { !String(cString: $0.name).hasSuffix(".cu") }
        let texts: [UnsafePointer<CChar>?] = headers.map(\.text)
        let names: [UnsafePointer<CChar>?] = headers.map(\.name)
        var program: OpaquePointer?
        var status = api.nvrtcCreateProgram(&program, main.text, main.name, Int32(headers.count), texts, names)
        guard status == 0 else { throw failure("nvrtcCreateProgram", status, variant, target, log: "") }
        defer { _ = api.nvrtcDestroyProgram(&program) }

        let options = (KernelCompiler.options(variant, target: target) + furtherOptions).map { Array($0.utf8CString) }
        status = KernelCompiler.withPointers(options) { api.nvrtcCompileProgram(program, Int32(options.count), $0) }
        guard status == 0 else { throw failure("nvrtcCompileProgram", status, variant, target, log: log(program)) }

        var bytes = 0
        status = target.isMachineCode ? api.nvrtcGetCUBINSize(program, &bytes) : api.nvrtcGetPTXSize(program, &bytes)
        guard status == 0, bytes > 0 else { throw failure("nvrtcGetCUBINSize", status, variant, target, log: log(program)) }
        var code = [UInt8](repeating: 0, count: bytes)
        status = code.withUnsafeMutableBytes { code in
            let text = code.bindMemory(to: CChar.self).baseAddress
            return target.isMachineCode ? api.nvrtcGetCUBIN(program, text) : api.nvrtcGetPTX(program, text)
        }
        guard status == 0 else { throw failure("nvrtcGetCUBIN", status, variant, target, log: "") }
        return (code, furtherOptions.isEmpty ? "" : log(program))
    }

    private static func withPointers(
        _ texts: [[CChar]], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Int32
    ) -> Int32 {
        // One block of memory holds all texts, so that their addresses stay put.
        let joined = texts.flatMap { $0 }
        return joined.withUnsafeBufferPointer { joined in
            var offset = 0
            let pointers: [UnsafePointer<CChar>?] = texts.map { text in
                defer { offset += text.count }
                return joined.baseAddress.map { $0 + offset }
            }
            return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
        }
    }

    private func log(_ program: OpaquePointer?) -> String {
        var bytes = 0
        guard api.nvrtcGetProgramLogSize(program, &bytes) == 0, bytes > 1 else { return "" }
        var text = [CChar](repeating: 0, count: bytes + 1)
        guard api.nvrtcGetProgramLog(program, &text) == 0 else { return "" }
        return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    private func failure(
        _ call: String, _ status: Int32, _ variant: KernelVariant, _ target: KernelTarget, log: String
    ) -> CUDAError {
        // The first lines hold the first error; a template's trail of notes would bury it.
        let lines = log.split(separator: "\n").prefix(12).joined(separator: "\n")
        let name = status == 0 ? nil : api.nvrtcGetErrorString(status).map { String(cString: $0) }
        return CUDAError(
            .compilation, call: call, kernel: "\(variant)", status: name,
            detail: "NVRTC \(version) for \(target)\(lines.isEmpty ? "" : ":\n\(lines)\n")",
            hint: "Use NVRTC of CUDA 12.3 or newer (VLM_CUDA_PATH); if it is, please report this message")
    }
}
