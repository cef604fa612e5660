import CUDABackend
import Foundation
import Tensors
import TestKit
import Testing

@Suite struct KernelCacheTests {
    let folder = NSTemporaryDirectory() + "vlm-kernels-\(UUID().uuidString)/deep"
    let variant = KernelVariant(file: .elementwise, element: .bfloat16)
    let target = KernelTarget(capability: 90)
    var cache: KernelCache { KernelCache(folder: folder, compilerVersion: "13.0") }

    private func remove() { try? FileManager.default.removeItem(atPath: folder) }

    @Test func whatWasStoredComesBackForItsVariantOnly() {
        defer { remove() }
        #expect(cache.code(of: variant, target: target) == nil)
        cache.store([1, 2, 3], of: variant, target: target)
        #expect(cache.code(of: variant, target: target) == [1, 2, 3])
        #expect(cache.code(of: KernelVariant(file: .elementwise, element: .float16), target: target) == nil)
        #expect(cache.code(of: KernelVariant(file: .elementwise, element: .bfloat16, option: 1), target: target) == nil)
        #expect(cache.code(of: variant, target: KernelTarget(capability: 89)) == nil)
        #expect(KernelCache(folder: folder, compilerVersion: "12.9").code(of: variant, target: target) == nil)
    }

    @Test func damagedFilesCountAsAbsent() throws {
        defer { remove() }
        let code = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        cache.store(code, of: variant, target: target)
        let url = URL(fileURLWithPath: cache.path(of: variant, target: target))
        let whole = try Data(contentsOf: url)
        for length in [0, 1, 8, 71, 72, 73, whole.count - 1] {
            try whole.prefix(length).write(to: url)
            #expect(cache.code(of: variant, target: target) == nil, "cut to \(length)")
        }
        for position in [0, 8, 40, 72, whole.count - 1] {
            var changed = whole
            changed[position] ^= 0x10
            try changed.write(to: url)
            #expect(cache.code(of: variant, target: target) == nil, "byte \(position) changed")
        }
        cache.store(code, of: variant, target: target)
        #expect(cache.code(of: variant, target: target) == code)
    }

    @Test func manyWritersAtOnceLeaveOneWholeFile() async throws {
        defer { remove() }
        let (cache, variant, target) = (cache, variant, target)
        let code = [UInt8](repeating: 42, count: 200_000)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    cache.store(code, of: variant, target: target)
                    // Whatever is there while others write is whole.
                    return cache.code(of: variant, target: target) == code
                }
            }
            for await whole in group { #expect(whole) }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 1)
    }

    @Test func aFolderThatCannotBeMadeIsNoError() {
        let cache = KernelCache(folder: "/dev/null/kernels", compilerVersion: "13.0")
        cache.store([1], of: variant, target: target)
        #expect(cache.code(of: variant, target: target) == nil)
    }

    @Test func theDigestIsSHA256() {
        for length in [0, 1, 3, 55, 56, 63, 64, 65, 119, 1000] {
            let message = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
            var digest = SHA256()
            for part in [0..<length / 3, length / 3..<length] { message[part].withUnsafeBytes { digest.update($0) } }
            let text = digest.finish().map { String(format: "%02x", $0) }.joined()
            #expect(text == sha256(message), "\(length) bytes")
        }
    }
}
