import Checkpoints
import Foundation

/// Finds the model that ships with the package.
enum DemoModel {
    static func isName(_ model: String) -> Bool { model == "demo" }

    /// The folder of the demo checkpoint: `VLM_DEMO_MODEL` if set, the resources beside the executable, or `share/swift-vlm/demo` of an
    /// installation.
    ///
    /// - Throws: `CheckpointError` listing where it looked.
    static func folder() throws -> String {
        let executable = URL(fileURLWithPath: CommandLine.arguments.first ?? "").resolvingSymlinksInPath()
        let beside = [Bundle.main.bundleURL, executable.deletingLastPathComponent(), processFolder()].compactMap { $0 }
        var candidates: [String] = []
        if let given = ProcessInfo.processInfo.environment["VLM_DEMO_MODEL"] { candidates.append(given) }
        for folder in beside {
            candidates.append(folder.appendingPathComponent("swift-vlm_VLM.resources/demo").path)
            candidates.append(folder.deletingLastPathComponent().appendingPathComponent("share/swift-vlm/demo").path)
        }
        for candidate in candidates where FileManager.default.fileExists(atPath: candidate + "/config.json") { return candidate }
        throw CheckpointError(
            .notFound, source: "demo", detail: "the demo model is not at \(candidates.joined(separator: ", "))",
            hint: "Set VLM_DEMO_MODEL to the folder Sources/VLM/Resources/demo of the package")
    }

    /// The folder of the running program, also when it was found through PATH.
    private static func processFolder() -> URL? {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")).map {
            URL(fileURLWithPath: $0).deletingLastPathComponent()
        }
    }
}
