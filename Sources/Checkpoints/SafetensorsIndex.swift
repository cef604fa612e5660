import JSON

/// `model.safetensors.index.json`: which shard holds which tensor.
package struct SafetensorsIndex {
    package let path: String
    /// Tensor name → file name in the same folder.
    package let weightMap: [String: String]
    /// File names, sorted, each once.
    package let shards: [String]

    package init(path: String) throws(CheckpointError) {
        let bytes: [UInt8]
        do { bytes = try readFile(path) } catch {
            throw CheckpointError(.unreadable, source: path, detail: error.message)
        }
        try self.init(parsing: bytes, path: path)
    }

    /// - Parameter path: for errors.
    package init(parsing bytes: [UInt8], path: String) throws(CheckpointError) {
        let root: JSONValue
        do { root = try JSONValue(parsing: bytes, source: path) } catch {
            throw CheckpointError(.malformed, source: path, detail: "it is not JSON: \(error.message)")
        }
        self.path = path
        guard let map = root["weight_map"]?.objectValue else {
            throw CheckpointError(.malformed, source: path, detail: "weight_map is missing or not an object")
        }
        var weightMap: [String: String] = [:]
        weightMap.reserveCapacity(map.count)
        for (name, value) in map {
            guard let shard = value.stringValue else {
                throw CheckpointError(.malformed, source: path, detail: "weight_map.\(name) is not a file name")
            }
            // A checkpoint must not make us read files elsewhere on the machine.
            guard !shard.isEmpty, !shard.contains("/"), !shard.contains("\0"), shard != ".", shard != ".." else {
                throw CheckpointError(
                    .malformed, source: path,
                    detail: "weight_map.\(name) is \"\(shard.prefix(60))\", not a file name in this folder")
            }
            weightMap[name] = shard
        }
        guard !weightMap.isEmpty else { throw CheckpointError(.malformed, source: path, detail: "weight_map is empty") }
        self.weightMap = weightMap
        shards = Set(weightMap.values).sorted()
    }
}
