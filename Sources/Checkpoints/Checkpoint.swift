import Foundation
import JSON
package import Tensors

/// Where the numbers of a checkpoint come from.
package enum WeightsMode: Sendable, Equatable {
    /// The safetensors files of the folder.
    case file
    /// Random numbers in the shapes the configuration asks for; no tensor file is read or needed.
    case dummy(seed: UInt64)
}

/// A Hugging Face checkpoint folder: configuration files and mapped tensors.
///
/// Opening one reads `config.json` and the safetensors headers and maps the files; no tensor byte is read until somebody looks
/// at it. With ``WeightsMode/dummy(seed:)`` only `config.json` must exist.
package final class Checkpoint: Sendable {
    /// The folder, as given.
    package let folder: String
    package let weights: WeightsMode
    /// `config.json`.
    package let config: ConfigReader
    /// `generation_config.json`; nil when the folder has none. The same for the three below.
    package let generationConfig: ConfigReader?
    package let preprocessorConfig: ConfigReader?
    package let processorConfig: ConfigReader?
    package let tokenizerConfig: ConfigReader?
    /// `architectures` of `config.json`, such as `["Qwen2_5_VLForConditionalGeneration"]`; empty when absent.
    package let architectures: [String]

    /// What the image processor is configured with: `image_processor` inside processor_config.json, as transformers 5 writes it, else
    /// preprocessor_config.json, else nil (transformers 5.17.0 image_processing_base.py, `get_image_processor_dict`).
    package let imageProcessorConfig: ConfigReader?

    private let store: TensorStore

    /// Opens a checkpoint folder.
    ///
    /// - Throws: ``CheckpointError`` when the folder or one of its files is missing or malformed.
    package init(folder: String, weights: WeightsMode = .file) throws {
        self.folder = folder
        self.weights = weights
        try CheckpointFolder.check(folder, weights: weights)
        let root = try CheckpointFolder.config(folder, "config.json")
        guard let root else {
            throw CheckpointError(.notACheckpoint, source: folder, detail: "there is no config.json")
        }
        config = root
        generationConfig = try CheckpointFolder.config(folder, "generation_config.json")
        preprocessorConfig = try CheckpointFolder.config(folder, "preprocessor_config.json")
        processorConfig = try CheckpointFolder.config(folder, "processor_config.json")
        tokenizerConfig = try CheckpointFolder.config(folder, "tokenizer_config.json")
        architectures = try root.stringsIfPresent("architectures") ?? []
        imageProcessorConfig = try processorConfig?.objectIfPresent("image_processor") ?? preprocessorConfig
        store = weights == .file ? try TensorStore(folder: folder) : TensorStore()
    }

    /// Names of all tensors in the files, sorted; empty in dummy mode.
    package var tensorNames: [String] { store.names }

    /// A view of a tensor's bytes in the mapped file, or nil when no file holds that name (always nil in dummy mode).
    package func tensor(_ name: String) -> HostTensor? { store.tensor(name) }

    /// Gives the memory of the mapped files back, once weights were copied from them; what is touched later is read again.
    package func releasePages() { store.releasePages() }

    /// The files that hold tensors.
    package var weightFiles: [String] { store.files }

    /// Bytes of all tensors together.
    package var tensorByteCount: Int { store.byteCount }
}
