import Foundation
import Testing

/// What Tools/goldens/tokenizers/fetch.sh took from Python packages: real vocabularies and chat templates, which are their
/// owners' and not in the repository, in the folder that VLM_REAL_TOKENIZERS names.
enum RealPackages {
    private static let folder = ProcessInfo.processInfo.environment["VLM_REAL_TOKENIZERS"]

    /// The folders of fetched vocabularies, by name; empty where nothing was fetched.
    static let vocabularies: [String: String] = {
        guard let folder, let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return [:] }
        let folders = names.map { ($0, folder + "/" + $0) }
        return Dictionary(uniqueKeysWithValues: folders.filter { exists($0.1 + "/expected.json") })
    }()

    /// The file of fetched chat templates.
    static let templates: String? = folder.map { $0 + "/templates.json" }.flatMap { exists($0) ? $0 : nil }

    /// Why a suite that needs `what` does not run.
    static func skipped(_ what: String) -> Comment {
        guard let folder else {
            return "skipped: VLM_REAL_TOKENIZERS is not set; Tools/goldens/tokenizers/fetch.sh FOLDER fetches \(what)"
        }
        return "skipped: \(folder) has no \(what); fetch.sh said why"
    }

    private static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}
