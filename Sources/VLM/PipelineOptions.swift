package import CUDABackend
import Foundation
public import Imaging

/// Choices about a model that concern neither its engine nor its vision encoder.
public struct PipelineOptions: Sendable {
    /// Where weights come from.
    public enum Weights: Sendable, Equatable {
        /// The checkpoint's files.
        case checkpoint
        /// Random numbers in the checkpoint's shapes, for planning and benchmarks; only configuration and tokenizer files are read.
        case dummy(seed: UInt64)
    }

    /// Where weights come from.
    public var weights: Weights
    /// Jinja source of a chat template to use instead of the checkpoint's.
    public var chatTemplate: String?
    /// What images may cost, and where they may come from.
    public var imageLimits: ImageLimits
    /// Who is told about requests: log, metrics, traces, a handler of your own.
    public var observability: Observability
    /// Where CUDA's libraries are looked for and compiled kernels kept: by default what the environment says (`VLM_CUDA_PATH`,
    /// `XDG_CACHE_HOME`), read when the options are made.
    package var cuda = CUDAOptions(environment: ProcessInfo.processInfo.environment)

    /// The checkpoint's own weights and template, unless said otherwise.
    public init(
        weights: Weights = .checkpoint, chatTemplate: String? = nil, imageLimits: ImageLimits = .init(),
        observability: Observability = .init()
    ) {
        self.weights = weights
        self.chatTemplate = chatTemplate
        self.imageLimits = imageLimits
        self.observability = observability
    }
}
