import CCUDA

/// The CUDA libraries of this machine, opened once.
package final class CUDALibraries: @unchecked Sendable {  // immutable tables of functions
    /// Why the driver cannot be used, or its functions.
    let driver: Result<CUDADriver, CUDAError>
    /// Why NVRTC cannot be used, or its functions.
    let compiler: Result<KernelCompiler, CUDAError>
    /// cuBLASLt, when it is there.
    let blas: vlm_blas?
    /// Why it is not.
    let blasError: CUDAError?
    /// Where each library was found, or why not: for `vlm doctor`.
    package let report: [(library: String, finding: String)]

    /// The oldest driver whose functions are enough, as `cuDriverGetVersion` numbers it: 12.0.
    static let oldestDriver: Int32 = 12_000

    /// Looks for all three. What is missing is told when it is needed.
    package init(_ options: CUDAOptions) {
        let search = LibrarySearch(options)
        var report: [(library: String, finding: String)] = []

        var driverVersion: Int32 = 0
        driver = Result { () throws(CUDAError) in
            let found = try CUDALibraries.open(
                ["libcuda.so.1", "libcuda.so"], search, kind: .noDriver, what: "the NVIDIA driver's libcuda",
                hint: "Install the NVIDIA driver, or run with --device cpu")
            var table = vlm_cuda_driver()
            if let missing = vlm_cuda_load_driver(found.handle, &table) {
                throw CUDAError(
                    .driverTooOld, call: String(cString: missing), detail: "\(found.path) lacks this function",
                    hint: "Update the NVIDIA driver to 525 (CUDA 12.0) or newer")
            }
            guard table.cuDriverGetVersion(&driverVersion) == VLM_CU_SUCCESS, driverVersion >= CUDALibraries.oldestDriver else {
                throw CUDAError(
                    .driverTooOld, call: "cuDriverGetVersion",
                    detail: "\(found.path) is a driver for CUDA \(driverVersion / 1000).\(driverVersion % 1000 / 10)",
                    hint: "Update the NVIDIA driver to 525 (CUDA 12.0) or newer")
            }
            return CUDADriver(table, path: found.path, version: Int(driverVersion))
        }

        // A library of a newer major version than the driver's makes code that the driver may refuse, so it comes last.
        let majors = driverVersion == 0 || driverVersion >= 13_000 ? [13, 12] : [12, 13]
        compiler = Result { () throws(CUDAError) in
            let found = try CUDALibraries.open(
                majors.map { "libnvrtc.so.\($0)" }, search, kind: .missingLibrary, what: "NVRTC (libnvrtc.so.13 or .12)",
                neighbours: ["libnvrtc-builtins.so"],
                hint: "Install it (pip install nvidia-cuda-nvrtc, or the CUDA toolkit) or name its folder in VLM_CUDA_PATH")
            var table = vlm_nvrtc()
            if let missing = vlm_cuda_load_nvrtc(found.handle, &table) {
                throw CUDAError(
                    .missingLibrary, call: String(cString: missing), detail: "\(found.path) lacks this function",
                    hint: "Install NVRTC of CUDA 12.0 or newer and name its folder in VLM_CUDA_PATH")
            }
            return try KernelCompiler(table, path: found.path)
        }

        var blas: vlm_blas?
        var blasError: CUDAError?
        var blasFinding = ""
        do throws(CUDAError) {
            let found = try CUDALibraries.open(
                majors.map { "libcublasLt.so.\($0)" }, search, kind: .missingLibrary, what: "cuBLASLt (libcublasLt.so.13 or .12)",
                hint: "Install it (pip install nvidia-cublas, or the CUDA toolkit) or name its folder in VLM_CUDA_PATH")
            var table = vlm_blas()
            if let missing = vlm_cuda_load_blas(found.handle, &table) {
                throw CUDAError(
                    .missingLibrary, call: String(cString: missing), detail: "\(found.path) lacks this function",
                    hint: "Install cuBLASLt of CUDA 12.0 or newer and name its folder in VLM_CUDA_PATH")
            }
            blas = table
            blasFinding = "\(found.path), version \(table.cublasLtGetVersion())"
        } catch {
            blasError = error
            blasFinding = error.description
        }
        self.blas = blas
        self.blasError = blasError

        switch driver {
        case .success(let driver):
            report.append(("driver", "\(driver.path), CUDA \(driver.version / 1000).\(driver.version % 1000 / 10)"))
        case .failure(let error): report.append(("driver", error.description))
        }
        switch compiler {
        case .success(let compiler): report.append(("NVRTC", "\(compiler.path), version \(compiler.version)"))
        case .failure(let error): report.append(("NVRTC", error.description))
        }
        report.append(("cuBLASLt", blasFinding))
        self.report = report
    }

    /// Whether there is a driver of the right age.
    package var hasDriver: Bool { (try? driver.get()) != nil }
    /// Whether kernels can be compiled here.
    package var hasCompiler: Bool { (try? compiler.get()) != nil }

    private static func open(
        _ names: [String], _ search: LibrarySearch, kind: CUDAError.Kind, what: String, neighbours: [String] = [], hint: String
    ) throws(CUDAError) -> LibrarySearch.Found {
        let (found, attempts) = search.open(names, neighbours: neighbours)
        guard let found else {
            throw CUDAError(kind, call: "dlopen", detail: "\(what) was not found; \(attempts.description)", hint: hint)
        }
        return found
    }
}
