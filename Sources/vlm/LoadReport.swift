import Engine
import Foundation
import JSON

/// Shows what a pipeline did under load.
struct LoadReport {
    let model: String
    let device: String
    let result: LoadResult
    let imageSize: (width: Int, height: Int)?
    /// Peak resident memory of the process.
    let hostMemory: Int
    /// Peak memory on the device; 0 on the CPU.
    let deviceMemory: Int

    func printJSON() {
        let plan = result.plan
        var object = JSONObject([
            ("model", .string(model)), ("device", .string(device)), ("concurrency", .integer(plan.concurrency)),
            ("requests", .integer(plan.requestCount)), ("failed_requests", .integer(result.failedCount)),
            ("new_tokens", .integer(plan.newTokens)), ("repeat_images", .bool(plan.repeatsImages)),
            ("seconds", .number(result.seconds)), ("requests_per_second", .number(result.requestsPerSecond)),
            ("output_tokens_per_second", .number(result.outputTokensPerSecond)),
            ("ttft_ms", percentiles(result.firstTokens)), ("itl_ms", percentiles(result.intervals)),
            ("prefix_cache_hit_rate", .number(result.prefixCacheHitRate)),
            ("image_cache_hit_rate", .number(result.imageCacheHitRate)),
            ("peak_memory_bytes", .integer(hostMemory + deviceMemory)), ("peak_host_memory_bytes", .integer(hostMemory)),
            ("peak_device_memory_bytes", .integer(deviceMemory)),
        ])
        if let rate = plan.rate { object["rate"] = .number(rate) }
        if let imageSize { object["image_size"] = .string("\(imageSize.width)x\(imageSize.height)") }
        print(JSONValue.object(object).serialized(indent: 2))
    }

    /// Milliseconds; null where nothing was measured.
    private func percentiles(_ values: Percentiles) -> JSONValue {
        func value(_ share: Double) -> JSONValue { values(share).map { .number($0 * 1000) } ?? .null }
        return .object(JSONObject([("p50", value(0.5)), ("p95", value(0.95)), ("p99", value(0.99))]))
    }

    func printText() {
        print(title)
        line("requests", "\(rounded(result.requestsPerSecond)) a second, \(rounded(result.seconds)) s in all")
        if result.failedCount > 0 { line("failed", "\(result.failedCount)") }
        line("output tokens", "\(rounded(result.outputTokensPerSecond)) a second")
        line("first token", percentileText(result.firstTokens))
        line("between tokens", percentileText(result.intervals))
        line("prefix cache", "\(rounded(result.prefixCacheHitRate * 100)) % of the prompts' tokens")
        if imageSize != nil { line("image cache", "\(rounded(result.imageCacheHitRate * 100)) % of the pictures") }
        let device = deviceMemory > 0 ? ", \(MemoryPlan.format(deviceMemory)) on the device" : ""
        line("peak memory", MemoryPlan.format(hostMemory) + device)
    }

    /// What was asked for, in words.
    var title: String {
        let plan = result.plan
        let arrivals = plan.rate.map { "\(rounded($0)) a second, at most \(plan.concurrency) at once" }
        let pictures = imageSize.map { size in
            plan.repeatsImages
                ? ", \(LoadBenchmark.repeatedPictures) pictures of \(size.width)x\(size.height)"
                : ", a \(size.width)x\(size.height) picture each"
        }
        return "\(model): \(plan.requestCount) requests, \(arrivals ?? "\(plan.concurrency) at once"), "
            + "\(plan.newTokens) new tokens" + (pictures ?? "")
    }

    private func line(_ name: String, _ value: String) {
        print(name.padding(toLength: 16, withPad: " ", startingAt: 0) + value)
    }

    private func percentileText(_ values: Percentiles) -> String {
        let parts = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].compactMap { name, share in
            values(share).map { "\(name) \(rounded($0 * 1000)) ms" }
        }
        return parts.isEmpty ? "none" : parts.joined(separator: ", ")
    }

    private func rounded(_ value: Double) -> String { String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value) }
}
