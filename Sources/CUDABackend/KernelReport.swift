import Tensors

/// What NVRTC made of one program for one target: for a machine without a GPU, where compiling is all that can be checked.
package struct KernelReport: Sendable {
    /// One kernel's needs, as the assembler tells them.
    package struct Function: Sendable, Equatable {
        package let name: String
        package var registers = 0
        /// Bytes of registers that did not fit and went to memory, stores and loads together.
        package var spilledBytes = 0
    }

    package let target: KernelTarget
    /// File, element type, head size and option.
    package let program: String
    package let codeBytes: Int
    package let functions: [Function]
    /// Why there is no code: NVRTC's words.
    package let failure: String?

    /// Compiles everything that can be asked for on a target, on all cores, and reports each program when it is done.
    ///
    /// - Parameter isSelection: every kernel, but in few of its forms; see ``KernelVariant/selection(_:)``.
    /// - Throws: ``CUDAError`` when NVRTC is missing.
    package static func compileAll(
        _ target: KernelTarget, isSelection: Bool, libraries: CUDALibraries, report: @Sendable (KernelReport) -> Void
    ) throws {
        let compiler = try libraries.compiler.get()
        _ = try Parallel.map(isSelection ? KernelVariant.selection(target) : KernelVariant.all(target)) { variant in
            do throws(CUDAError) {
                let (code, log) = try compiler.compile(variant, target: target, furtherOptions: ["--ptxas-options=-v"])
                report(
                    KernelReport(
                        target: target, program: variant.description, codeBytes: code.count, functions: functions(inLog: log),
                        failure: nil))
            } catch {
                report(
                    KernelReport(
                        target: target, program: variant.description, codeBytes: 0, functions: [], failure: error.description))
            }
        }
    }

    /// Reads the lines that the assembler writes with `--verbose`.
    static func functions(inLog log: String) -> [Function] {
        var functions: [Function] = []
        for line in log.split(separator: "\n") {
            if let name = line.split(separator: "'").dropFirst().first, line.contains("Compiling entry function") {
                functions.append(Function(name: String(name)))
            }
            guard !functions.isEmpty else { continue }
            let last = functions.count - 1
            let words = line.split(whereSeparator: { $0 == " " || $0 == "," })
            for (index, word) in words.enumerated().dropFirst() {
                if word == "registers", let count = Int(words[index - 1]) { functions[last].registers = count }
                if word == "spill", index > 1, let bytes = Int(words[index - 2]) { functions[last].spilledBytes += bytes }
            }
        }
        return functions
    }
}
