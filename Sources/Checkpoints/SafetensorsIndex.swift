import JSON

/// `model.safetensors.index.json`: which shard holds which tensor.
struct SafetensorsIndex {
    let path: String
    /// Tensor name → file name in the same folder.
    let weightMap: [String: String]
    /// File names, sorted, each once.
    let shards: [String]

    init(path: String) throws {
        try self.init(JSONValue(contentsOf: path), path: path)
    }

    init(_ root: JSONValue, path: String) throws {
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
