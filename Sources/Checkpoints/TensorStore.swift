import Foundation
import JSON
import Tensors

/// The tensors of a checkpoint folder: one safetensors file, or several with an index.
final class TensorStore: Sendable {
    private let tensors: [String: HostTensor]
    /// Sorted.
    let names: [String]
    /// Paths of the files.
    let files: [String]
    let byteCount: Int

    /// A store that holds nothing.
    init() { (tensors, names, files, byteCount) = ([:], [], [], 0) }

    /// Maps the files of a folder.
    ///
    /// As transformers does, `model.safetensors` wins over `model.safetensors.index.json`.
    convenience init(folder: String) throws {
        let single = folder + "/model.safetensors"
        let index = folder + "/model.safetensors.index.json"
        if FileManager.default.fileExists(atPath: single) {
            try self.init(files: [SafetensorsFile(path: single)])
        } else if FileManager.default.fileExists(atPath: index) {
            try self.init(index: SafetensorsIndex(path: index), folder: folder)
        } else {
            throw CheckpointFolder.weightsMissing(folder)
        }
    }

    private init(files: [SafetensorsFile]) throws {
        var all: [String: HostTensor] = [:]
        for file in files {
            for tensor in file.tensors {
                guard all.updateValue(tensor, forKey: tensor.name) == nil else {
                    throw CheckpointError(.malformed, source: file.path, detail: "\(tensor.name) is in another shard too")
                }
            }
        }
        tensors = all
        names = all.keys.sorted()
        self.files = files.map(\.path)
        byteCount = all.values.reduce(0) { $0 + $1.bytes.count }
    }

    /// Maps the shards an index lists and checks that each holds what the index says, and nothing else.
    private convenience init(index: SafetensorsIndex, folder: String) throws {
        var files: [SafetensorsFile] = []
        for shard in index.shards {
            let path = folder + "/" + shard
            guard FileManager.default.fileExists(atPath: path) else {
                throw CheckpointError(
                    .notACheckpoint, source: folder, detail: "\(shard), which the index lists, is missing",
                    hint: "The download is incomplete; get the missing shard")
            }
            let file = try SafetensorsFile(path: path)
            if let stray = file.tensors.first(where: { index.weightMap[$0.name] != shard }) {
                throw CheckpointError(
                    .malformed, source: path, detail: "it holds \(stray.name), which the index does not place here",
                    hint: "Index and shards are of different versions; get both again")
            }
            files.append(file)
        }
        try self.init(files: files)
        if let absent = index.weightMap.keys.sorted().first(where: { tensors[$0] == nil }) {
            throw CheckpointError(
                .malformed, source: index.path, detail: "\(absent) is not in \(index.weightMap[absent] ?? "its shard")",
                hint: "Index and shards are of different versions; get both again")
        }
    }

    func tensor(_ name: String) -> HostTensor? { tensors[name] }

    /// See ``Checkpoint/releasePages()``.
    func releasePages() {
        var released: Set<ObjectIdentifier> = []
        for tensor in tensors.values where released.insert(ObjectIdentifier(tensor.owner)).inserted {
            (tensor.owner as? MappedFile)?.releasePages()
        }
    }
}
