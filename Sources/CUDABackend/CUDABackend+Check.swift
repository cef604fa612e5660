extension CUDABackend {
    /// Checks that models can run on GPU `index`: driver, GPU and libraries.
    ///
    /// - Throws: ``CUDAError`` saying what is missing and what to do.
    package static func check(index: Int, libraries: CUDALibraries) throws {
        let cuda = try libraries.driver.get()
        try requireCapability(try open(cuda, index: index).properties)
        _ = try libraries.compiler.get()
        if let error = libraries.blasError { throw error }
    }

    /// - Throws: ``CUDAError`` of kind `unsupportedArchitecture` for GPUs before Ampere, whose tensor cores have no bfloat16.
    static func requireCapability(_ properties: DeviceProperties) throws(CUDAError) {
        guard properties.major >= 8 else {
            throw CUDAError(
                .unsupportedArchitecture, call: "cuDeviceGetAttribute",
                detail: "\(properties.name) has compute capability \(properties.major).\(properties.minor)",
                hint: "A GPU of capability 8.0 (Ampere) or newer is needed; run with --device cpu")
        }
    }
}
