import Engine
import Foundation
import JSON

/// A line of the soak's report.
struct SoakRow: Sendable {
    /// Resident memory at a point.
    struct Memory {
        let name: String
        let bytes: Int

        static func now(_ name: String) -> Memory { Memory(name: name, bytes: HostMemory.residentBytes.now) }

        var text: String { "\(name): \(MemoryPlan.format(bytes)) resident" }
    }

    let requestCount: Int
    let seconds: Double
    let residentBytes: Int
    /// How the requests since the line before ended, by name.
    let outcomes: [String: Int]

    static func heading(_ memory: [Memory]) {
        for item in memory { Terminal.write(item.text + "\n") }
        Terminal.write("requests   seconds   resident   ended\n")
    }

    var text: String {
        func padded(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
        let ended = outcomes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        return padded("\(requestCount)", 8) + padded(String(format: "%.1f", seconds), 10)
            + padded(MemoryPlan.format(residentBytes), 11) + "   " + ended
    }

    var json: JSONValue {
        .object(
            JSONObject([
                ("requests", .integer(requestCount)), ("seconds", .number(seconds)), ("resident_bytes", .integer(residentBytes)),
                ("ended", .object(JSONObject(outcomes.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) }))),
            ]))
    }
}
