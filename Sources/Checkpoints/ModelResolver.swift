import Foundation

/// Turns what a user calls a model into a checkpoint folder.
///
/// A path that exists is taken as it is. Anything of the form `owner/name` or `owner/name@revision` is looked up in the standard Hub
/// cache: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`, else `~/.cache/huggingface/hub`, laid out as
/// `models--owner--name/{refs/<revision>, snapshots/<commit>}` (huggingface_hub, "Understand caching").
package enum ModelResolver {
    /// The checkpoint folder of `model`.
    ///
    /// - Parameter environment: the process's environment, unless a test gives another.
    /// - Throws: ``CheckpointError`` of kind `notFound` saying where it looked.
    package static func resolve(
        _ model: String, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> String {
        let path = expandingHome(model, environment)
        if FileManager.default.fileExists(atPath: path) { return path }
        guard let (id, revision) = hubName(model) else {
            throw CheckpointError(
                .notFound, source: model, detail: "there is no such folder",
                hint: "Give the folder of a checkpoint, a Hub id as owner/name, or demo")
        }
        let repository = cacheFolder(environment) + "/models--" + id.replacing("/", with: "--")
        guard FileManager.default.fileExists(atPath: repository) else {
            throw CheckpointError(
                .notFound, source: model,
                detail: "there is no such folder, and no Hub model of that name in \(cacheFolder(environment))",
                hint: "Download it with `hf download \(id)` or give a checkpoint folder")
        }
        // A revision is a name under refs (branch or tag) or a commit itself.
        let reference = repository + "/refs/" + revision
        let commit = (try? String(contentsOfFile: reference, encoding: .utf8)).map {
            $0.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let snapshot = repository + "/snapshots/" + (commit ?? revision)
        guard FileManager.default.fileExists(atPath: snapshot) else {
            throw CheckpointError(
                .notFound, source: model, detail: "\(repository) has no snapshot of revision \(revision)",
                hint: "Download it with `hf download \(id) --revision \(revision)`")
        }
        return snapshot
    }

    /// The folder that holds the Hub's models on this machine.
    package static func cacheFolder(_ environment: [String: String]) -> String {
        func value(_ key: String) -> String? { environment[key].flatMap { $0.isEmpty ? nil : expandingHome($0, environment) } }
        if let cache = value("HF_HUB_CACHE") ?? value("HUGGINGFACE_HUB_CACHE") { return cache }
        if let home = value("HF_HOME") { return home + "/hub" }
        let base = value("XDG_CACHE_HOME") ?? expandingHome("~/.cache", environment)
        return base + "/huggingface/hub"
    }

    private static func expandingHome(_ path: String, _ environment: [String: String]) -> String {
        guard path == "~" || path.hasPrefix("~/") else { return path }
        return (environment["HOME"] ?? NSHomeDirectory()) + path.dropFirst()
    }

    /// `owner/name` or `owner/name@revision` in the characters the Hub allows; nil for anything else.
    private static func hubName(_ text: String) -> (id: String, revision: String)? {
        let halves = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        let parts = halves[0].split(separator: "/", omittingEmptySubsequences: false)
        let isName = { (part: Substring) in
            !part.isEmpty && !part.hasPrefix(".") && !part.hasPrefix("-") && !part.contains("--") && !part.contains("..")
                && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
        }
        guard parts.count == 2, parts.allSatisfy(isName) else { return nil }
        let revision = halves.count == 2 ? String(halves[1]) : "main"
        guard !revision.isEmpty, !revision.hasPrefix("/"), !revision.split(separator: "/").contains("..") else { return nil }
        return (String(halves[0]), revision)
    }
}
