import CUDABackend
import Foundation
import Tensors
import Testing

@Suite struct LibrarySearchTests {
    let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "vlm-cuda-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    private func finding(_ library: String, _ libraries: CUDALibraries) -> String {
        libraries.report.first { $0.library == library }?.finding ?? ""
    }

    /// A folder that was named comes first, so what is wrong with it must be told even where CUDA is installed elsewhere.
    @Test func aDamagedLibraryIsNamed() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in ["libnvrtc.so.13", "libnvrtc.so.12"] {
            try Data("not a library".utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
        }
        let libraries = CUDALibraries(CUDAOptions(libraryFolders: [folder]))
        guard !libraries.hasCompiler else { return }  // another one was found
        let text = finding("NVRTC", libraries)
        #expect(text.contains("\(folder)/libnvrtc.so.13"), "\(text)")
        #expect(text.contains("VLM_CUDA_PATH"))
    }

    /// Wheels of CUDA 13 share a folder, those of CUDA 12 have one each.
    @Test(arguments: ["cu13", "cuda_nvrtc"]) func pythonsFoldersAreSearched(_ package: String) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let wheel = "\(folder)/lib/python3.11/site-packages/nvidia/\(package)/lib"
        try FileManager.default.createDirectory(atPath: wheel, withIntermediateDirectories: true)
        try Data("not a library".utf8).write(to: URL(fileURLWithPath: "\(wheel)/libnvrtc.so.13"))
        let libraries = CUDALibraries(CUDAOptions(environmentFolders: [folder]))
        guard !libraries.hasCompiler else { return }  // another one was found
        #expect(finding("NVRTC", libraries).contains("\(wheel)/libnvrtc.so.13"))
    }

    #if os(Linux)
    /// A real library that is not CUDA's, under the driver's name: as an old driver would be, it lacks functions.
    @Test func aLibraryWithoutTheFunctionsIsToldFromAMissingOne() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let system = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6", "/lib64/libm.so.6"]
            .first { FileManager.default.fileExists(atPath: $0) }
        guard let system else { return }
        try FileManager.default.copyItem(atPath: system, toPath: "\(folder)/libcuda.so.1")
        let libraries = CUDALibraries(CUDAOptions(libraryFolders: [folder]))
        let error = #expect(throws: CUDAError.self) { try CUDABackend.devices(libraries) }
        #expect(error?.kind == .driverTooOld)
        #expect(error?.call == "cuInit")
        #expect(error?.detail.contains("\(folder)/libcuda.so.1") == true)
        #expect(error?.hint.contains("Update") == true)
    }
    #endif

    @Test(.enabled(if: !CUDA.hasDriver, "this machine has a driver"))
    func withoutADriverTheErrorSaysWhereItLooked() {
        let options = CUDAOptions(libraryFolders: [folder])
        let error = #expect(throws: CUDAError.self) {
            try CUDABackend(activationType: .float32, options: options)
        }
        #expect(error?.kind == .noDriver)
        #expect(error?.detail.contains(folder) == true)
        #expect(error?.hint.contains("--device cpu") == true)
        #expect(throws: CUDAError.self) { try CUDABackend.devices(CUDALibraries(options)) }
    }
}
