#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Whether a file can be read at `path`.
func fileExists(_ path: String) -> Bool { access(path, R_OK) == 0 }

/// Names of the entries of a folder.
func fileNames(in folder: String) throws(TokenizerError) -> [String] {
    guard let directory = opendir(folder) else {
        throw TokenizerError(folder, "cannot be opened: \(String(cString: strerror(errno)))")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        names.append(
            withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
            })
    }
    return names
}
