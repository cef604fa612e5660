import CCUDAKernels
import Foundation

/// Compiled kernels on disk, one file for each variant, named by a digest of everything the code depends on.
///
/// A file is written under another name and then renamed, so readers never see half of one; a damaged file counts as absent. Nothing
/// here throws: without a cache, kernels are compiled each time.
package struct KernelCache: Sendable {
    let folder: String
    let compilerVersion: String

    private static let magic = Array("VLMKERN1".utf8)

    /// `magic`, digest of the key, digest of the code, code.
    private static let headerBytes = magic.count + 2 * SHA256.byteCount

    package init(folder: String, compilerVersion: String) {
        self.folder = folder
        self.compilerVersion = compilerVersion
    }

    /// The digest of all embedded files. Headers count for every program; that compiles a little too often and never too seldom.
    private static let sources: [UInt8] = {
        var count = 0
        let files = UnsafeBufferPointer(start: vlm_cuda_sources(&count), count: count)
        var digest = SHA256()
        for file in files {
            digest.update(UnsafeRawBufferPointer(start: file.name, count: strlen(file.name) + 1))
            digest.update(UnsafeRawBufferPointer(start: file.text, count: file.length + 1))
        }
        return digest.finish()
    }()

    private func key(_ variant: KernelVariant, _ target: KernelTarget) -> [UInt8] {
        var digest = SHA256()
        KernelCache.sources.withUnsafeBytes { digest.update($0) }
        let parts = [variant.file.fileName, compilerVersion] + KernelCompiler.options(variant, target: target)
        Array(parts.joined(separator: "\n").utf8).withUnsafeBytes { digest.update($0) }
        return digest.finish()
    }

    /// Where a variant's code lies.
    package func path(of variant: KernelVariant, target: KernelTarget) -> String {
        let digits = key(variant, target).prefix(16).map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }
        return "\(folder)/\(variant.file.rawValue)-\(target)-\(digits.joined()).bin"
    }

    /// The code, or nil when it is not there, not whole, or not this variant's.
    package func code(of variant: KernelVariant, target: KernelTarget) -> [UInt8]? {
        guard let data = FileManager.default.contents(atPath: path(of: variant, target: target)),
            data.count > KernelCache.headerBytes
        else { return nil }
        let bytes = [UInt8](data)
        let code = Array(bytes[KernelCache.headerBytes...])
        guard Array(bytes[..<KernelCache.headerBytes]) == header(code, variant, target) else { return nil }
        return code
    }

    /// Keeps code for later runs, if the folder can be written.
    package func store(_ code: [UInt8], of variant: KernelVariant, target: KernelTarget) {
        let path = path(of: variant, target: target)
        let temporary = "\(path).\(UUID().uuidString)"
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let bytes = header(code, variant, target) + code
        guard FileManager.default.createFile(atPath: temporary, contents: Data(bytes)) else { return }
        if rename(temporary, path) != 0 { unlink(temporary) }
    }

    private func header(_ code: [UInt8], _ variant: KernelVariant, _ target: KernelTarget) -> [UInt8] {
        var digest = SHA256()
        code.withUnsafeBytes { digest.update($0) }
        return KernelCache.magic + key(variant, target) + digest.finish()
    }
}
