import CUDABackend
import Testing

@Suite struct OptionsTests {
    @Test func theEnvironmentIsReadOnce() {
        let options = CUDAOptions(environment: [
            "VLM_CUDA_PATH": "/a/lib:/b", "VIRTUAL_ENV": "/venv", "HOME": "/home/x", "VLM_CUDA_SYNC": "1",
        ])
        #expect(options.libraryFolders == ["/a/lib", "/b"])
        #expect(options.environmentFolders == ["/venv"])
        #expect(options.cacheFolder == "/home/x/.cache/swift-vlm/kernels")
        #expect(options.isSynchronous)
        let other = CUDAOptions(environment: ["XDG_CACHE_HOME": "/cache", "HOME": "/home/x", "VLM_CUDA_SYNC": "0"])
        #expect(other.cacheFolder == "/cache/swift-vlm/kernels")
        #expect(!other.isSynchronous)
        #expect(CUDAOptions(environment: [:]).cacheFolder == nil)
    }
}
