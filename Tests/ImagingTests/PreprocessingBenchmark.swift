import Foundation
import Imaging
import Testing

/// Processor time from a JPEG to Qwen2.5-VL patches, printed and not judged; `Tools/goldens/images/benchmark.py` says how to
/// run it beside the reference.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["VLM_BENCHMARK_IMAGE"] != nil))
struct PreprocessingBenchmark {
    private func least(_ work: () throws -> Void) rethrows -> String {
        var best = Double.infinity
        for _ in 0..<9 {
            let start = processorTime()
            try work()
            best = min(best, processorTime() - start)
        }
        return String(format: "%.1f ms", best * 1000)
    }

    private func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    @Test func jpegToPatches() throws {
        let path = try #require(ProcessInfo.processInfo.environment["VLM_BENCHMARK_IMAGE"])
        let loader = ImageLoader()
        let normalization = Normalization(mean: Normalization.clipMean, std: Normalization.clipStd)
        func patches(_ image: RGBImage, _ maximum: Int) throws -> [Float] {
            let size = try smartResize(height: image.height, width: image.width, minPixels: 3136, maxPixels: maximum)
            let resized = resize(image, width: size.width, height: size.height, filter: .bicubic)
            return qwenPatches(resized, normalization: normalization)
        }
        let image = try loader.loadBlocking(.path(path))
        print("\(image.width)x\(image.height)")
        print("load:", try least { _ = try loader.loadBlocking(.path(path)) })
        for maximum in [1_003_520, 12_845_056] {
            print("patches of at most \(maximum) pixels:", try least { _ = try patches(image, maximum) })
            print("both:", try least { _ = try patches(loader.loadBlocking(.path(path)), maximum) })
        }
    }
}
