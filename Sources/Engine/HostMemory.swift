import Foundation

/// What the operating system says of memory.
package enum HostMemory {
    /// Bytes this process may still take: `MemAvailable`, or less where a control group limits it.
    package static var availableBytes: Int {
        let available =
            value("MemAvailable:", in: "/proc/meminfo").map { $0 * 1024 } ?? Int(ProcessInfo.processInfo.physicalMemory / 2)
        guard let limit = number(in: "/sys/fs/cgroup/memory.max"), let used = number(in: "/sys/fs/cgroup/memory.current") else {
            return available
        }
        return min(available, max(0, limit - used))
    }

    /// Bytes of this process that are in memory, and the most there ever were.
    package static var residentBytes: (now: Int, peak: Int) {
        ((value("VmRSS:", in: "/proc/self/status") ?? 0) * 1024, (value("VmHWM:", in: "/proc/self/status") ?? 0) * 1024)
    }

    private static func value(_ key: String, in path: String) -> Int? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix(key) {
            return line.dropFirst(key.count).split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
        }
        return nil
    }

    private static func number(in path: String) -> Int? {
        (try? String(contentsOfFile: path, encoding: .utf8)).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
}
