/// What the environment says about CUDA, read once at the edge of the program.
package struct CUDAOptions: Sendable, Equatable {
    /// Folders in which CUDA's libraries are looked for first (`VLM_CUDA_PATH`).
    package var libraryFolders: [String]
    /// Further folders that may hold Python wheels of CUDA: virtual environments (`VIRTUAL_ENV`, `CONDA_PREFIX`) and the home folder.
    package var environmentFolders: [String]
    package var homeFolder: String?
    /// Where compiled kernels are kept between runs; nil keeps none.
    package var cacheFolder: String?
    /// Waits after every kernel, so that a fault names the kernel that caused it (`VLM_CUDA_SYNC=1`).
    package var isSynchronous: Bool
    /// Measures every kernel and tells at the end where the device's time went (`VLM_CUDA_PROFILE=1`).
    package var isProfiling: Bool

    package init(
        libraryFolders: [String] = [], environmentFolders: [String] = [], homeFolder: String? = nil, cacheFolder: String? = nil,
        isSynchronous: Bool = false, isProfiling: Bool = false
    ) {
        self.libraryFolders = libraryFolders
        self.environmentFolders = environmentFolders
        self.homeFolder = homeFolder
        self.cacheFolder = cacheFolder
        self.isSynchronous = isSynchronous
        self.isProfiling = isProfiling
    }

    /// Kernels are cached in `swift-vlm/kernels` under `XDG_CACHE_HOME` or `~/.cache`.
    package init(environment: [String: String]) {
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        func isOn(_ name: String) -> Bool { value(name).map { $0 != "0" } ?? false }
        let home = value("HOME")
        let cache = value("XDG_CACHE_HOME") ?? home.map { $0 + "/.cache" }
        self.init(
            libraryFolders: (value("VLM_CUDA_PATH") ?? "").split(separator: ":").map(String.init),
            environmentFolders: ["VIRTUAL_ENV", "CONDA_PREFIX"].compactMap(value), homeFolder: home,
            cacheFolder: cache.map { $0 + "/swift-vlm/kernels" },
            isSynchronous: isOn("VLM_CUDA_SYNC"), isProfiling: isOn("VLM_CUDA_PROFILE"))
    }
}
