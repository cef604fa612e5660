import ArgumentParser
import Foundation

/// Options of `vlm bench` that keep the model busy with many requests.
struct LoadOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Keep so many requests going at once, and measure latency and throughput.",
            discussion: """
                Each asks about a picture with 64 tokens of text and gets --new-tokens. Whoever was answered asks again, until --requests \
                were asked (four times as many as run at once unless given). Not measured are as many requests before, which warm up.
                """, valueName: "count"))
    var concurrency: Int?
    @Option(
        help: ArgumentHelp(
            "Requests arrive at random times, so many a second on average, and wait while --concurrency run.",
            valueName: "requests per second"))
    var rate: Double?
    @Flag(help: "Ask other questions about the same few pictures; otherwise no picture comes twice.")
    var repeatImages = false
    @Flag(help: "Hold the answers to a JSON Schema that they cannot end within --new-tokens, to see what guidance costs.")
    var guided = false
    @Option(help: ArgumentHelp("Draw latencies and the course of the run into an SVG file.", valueName: "file"))
    var plot: String?

    /// - Parameter requests: the values of --requests.
    func validate(requests: [Int]) throws {
        guard let concurrency else {
            guard rate == nil, !repeatImages, !guided, plot == nil else {
                throw ValidationError(
                    "--rate, --repeat-images, --guided and --plot go with --concurrency; say how many requests run at once")
            }
            return
        }
        guard (1...65_536).contains(concurrency) else { throw ValidationError("--concurrency must be between 1 and 65536") }
        guard requests.count <= 1 else {
            throw ValidationError("with --concurrency, --requests is one number: how many requests in all")
        }
        if let rate, !(rate > 0 && rate <= 1e6) {
            throw ValidationError("--rate must be a positive number of requests a second")
        }
    }

    /// Finds out before anything is measured whether a file can be written.
    ///
    /// - Throws: `ValidationError` naming the file.
    static func checkWritable(_ path: String) throws {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue,
            FileManager.default.isWritableFile(atPath: folder)
        else { throw ValidationError("--plot \(path) cannot be written; check that \(folder) exists and may be written") }
    }

    static func write(_ text: String, to path: String) throws {
        do {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        } catch {
            throw ValidationError("--plot \(path) cannot be written: \(error.localizedDescription)")
        }
    }
}
