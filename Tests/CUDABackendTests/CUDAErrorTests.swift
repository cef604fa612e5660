import CCUDA
import CUDABackend
import Testing

@Suite struct CUDAErrorTests {
    /// A driver of which only the error texts work.
    private var driver: CUDADriver {
        var table = vlm_cuda_driver()
        table.cuGetErrorName = { status, name in
            name?.pointee = CUDAErrorTests.text(status == 2 ? CUDAErrorTests.outOfMemory : CUDAErrorTests.other)
            return 0
        }
        table.cuGetErrorString = { _, text in
            text?.pointee = CUDAErrorTests.text(CUDAErrorTests.detail)
            return 0
        }
        return CUDADriver(table, path: "libcuda.so.1", version: 13_000)
    }

    private static let outOfMemory: StaticString = "CUDA_ERROR_OUT_OF_MEMORY"
    private static let other: StaticString = "CUDA_ERROR_OTHER"
    private static let detail: StaticString = "what happened"
    private static func text(_ text: StaticString) -> UnsafePointer<CChar> {
        UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    @Test(arguments: [
        (2, CUDAError.Kind.outOfMemory), (100, .noDevice), (36, .driverTooOld), (222, .driverTooOld), (209, .compilation),
        (214, .deviceLost), (700, .deviceLost), (702, .deviceLost), (719, .deviceLost), (721, .deviceLost), (1, .launch),
        (701, .launch),
    ])
    func statusesHaveKinds(_ status: Int, _ kind: CUDAError.Kind) {
        let error = driver.error(Int32(status), call: "cuLaunchKernelEx", kernel: "norm")
        #expect(error.kind == kind)
        #expect(!error.hint.isEmpty)
        #expect(driver.error(1, call: "cuMemsetD8Async").kind == .failed)
    }

    @Test func aMessageNamesCallKernelStatusAndWhatToDo() {
        let error = driver.error(701, call: "cuLaunchKernelEx", kernel: "norm of elementwise.cu bfloat16")
        #expect(
            error.description.hasPrefix(
                "cuLaunchKernelEx (norm of elementwise.cu bfloat16): CUDA_ERROR_OTHER: what happened. Run vlm doctor"))
    }

    @Test func aLateFaultNamesTheKernelsBeforeIt() {
        let error = driver.error(700, call: "cuEventQuery", recent: ["third", "second", "first"])
        #expect(error.kernel == "after third, second, first")
        #expect(error.hint.contains("VLM_CUDA_SYNC=1"))
        #expect(driver.error(2, call: "cuMemAllocAsync", recent: ["third"]).kernel == nil)
    }
}
