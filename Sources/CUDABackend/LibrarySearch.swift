import CCUDA
import Foundation

/// Looks for CUDA's shared libraries where they are usually installed and remembers what it tried.
struct LibrarySearch: Sendable {
    /// Folders in order; the loader's own search comes after those of ``CUDAOptions/libraryFolders``.
    let firstFolders: [String]
    let furtherFolders: [String]

    init(_ options: CUDAOptions) {
        firstFolders = options.libraryFolders
        furtherFolders =
            LibrarySearch.toolkitFolders() + LibrarySearch.wheelFolders(options.environmentFolders, home: options.homeFolder)
    }

    /// A library that was opened.
    struct Found: @unchecked Sendable {  // the handle is never closed
        let handle: UnsafeMutableRawPointer
        /// A path, or the bare name when the loader found it.
        let path: String
    }

    /// What was tried, for error messages.
    struct Attempts: Sendable, Equatable {
        /// One line for each file or name that exists but could not be opened.
        var failures: [String] = []
        var folders: [String] = []

        var description: String {
            let shown = folders.prefix(12).joined(separator: ", ")
            let more = folders.count > 12 ? " and \(folders.count - 12) more" : ""
            let places = folders.isEmpty ? "the loader's own folders" : "the loader's own folders, \(shown)\(more)"
            return "looked in \(places)" + (failures.isEmpty ? "" : "; " + failures.joined(separator: "; "))
        }
    }

    /// Opens the first of `names` that can be opened, a name in all places before the next name.
    ///
    /// - Parameter neighbours: beginnings of file names; libraries beside the found one that it opens by name itself and would not find.
    func open(_ names: [String], neighbours: [String] = []) -> (found: Found?, attempts: Attempts) {
        var attempts = Attempts(folders: firstFolders + furtherFolders)
        for name in names {
            for folder in firstFolders {
                if let found = open(folder: folder, name, neighbours, &attempts) { return (found, attempts) }
            }
            // The loader's message about a name it does not know says nothing new; one about a file it could not use does.
            switch LibrarySearch.open(name, global: false) {
            case .success(let handle): return (Found(handle: handle, path: name), attempts)
            case .failure(let reason):
                if !reason.text.contains("No such file") { attempts.failures.append(reason.text) }
            }
            for folder in furtherFolders {
                if let found = open(folder: folder, name, neighbours, &attempts) { return (found, attempts) }
            }
        }
        return (nil, attempts)
    }

    private func open(folder: String, _ name: String, _ neighbours: [String], _ attempts: inout Attempts) -> Found? {
        let path = folder + "/" + name
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        // NVRTC opens its builtins by bare name; once they are in the process, that name is enough.
        for neighbour in LibrarySearch.files(in: folder) where neighbours.contains(where: { neighbour.hasPrefix($0) }) {
            if case .failure(let reason) = LibrarySearch.open(folder + "/" + neighbour, global: true) {
                attempts.failures.append(reason.text)
            }
        }
        switch LibrarySearch.open(path, global: false) {
        case .success(let handle): return Found(handle: handle, path: path)
        case .failure(let reason):
            attempts.failures.append(reason.text)
            return nil
        }
    }

    private struct Reason: Error { let text: String }

    private static func open(_ path: String, global: Bool) -> Result<UnsafeMutableRawPointer, Reason> {
        var message = [CChar](repeating: 0, count: 512)
        if let handle = vlm_library_open(path, global, &message, message.count) { return .success(handle) }
        return .failure(Reason(text: message.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "unknown" }))
    }

    // MARK: Folders

    private static func files(in folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }

    /// Toolkits under `/usr/local`, the newest first, and the distribution's folders.
    private static func toolkitFolders() -> [String] {
        let toolkits = files(in: "/usr/local").filter { $0.hasPrefix("cuda") }
            .sorted { $0.compare($1, options: .numeric) == .orderedDescending }
        let folders = toolkits.flatMap {
            ["/usr/local/\($0)/lib64", "/usr/local/\($0)/targets/x86_64-linux/lib", "/usr/local/\($0)/targets/sbsa-linux/lib"]
        }
        return existing(folders + ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/opt/cuda/lib64"])
    }

    /// `nvidia/*/lib` of every `site-packages` in the usual places.
    private static func wheelFolders(_ environments: [String], home: String?) -> [String] {
        var roots = environments.map { $0 + "/lib" }
        if let home { roots += [home + "/.local/lib", home + "/.venv/lib"] }
        roots += ["/usr/local/lib", "/usr/lib"]
        let pythons = roots.flatMap { root in
            files(in: root).filter { $0.hasPrefix("python3") }.map { root + "/" + $0 }
        }
        let packages = existing(pythons.flatMap { [$0 + "/site-packages/nvidia", $0 + "/dist-packages/nvidia"] })
        return packages.flatMap { package in
            // "cu13" holds everything; wheels for CUDA 12 have a folder for each library.
            existing(files(in: package).filter { $0.hasPrefix("cu") }.map { "\(package)/\($0)/lib" })
        }
    }

    private static func existing(_ folders: [String]) -> [String] {
        folders.filter { FileManager.default.fileExists(atPath: $0) }
    }
}
