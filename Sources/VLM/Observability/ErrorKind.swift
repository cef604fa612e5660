import Engine
import Guidance
import Imaging

extension RequestRecord {
    /// A short stable name for what sort of error this is, one value of few, as labels of metrics need it.
    static func kind(of error: any Error) -> String {
        switch error {
        case let error as EngineError: "engine.\(error.kind.rawValue)"
        case let error as ImageError: "image.\(error.kind.rawValue)"
        case let error as GuidanceError: "guidance.\(error.kind.rawValue)"
        case is PromptError: "prompt"
        case is CancellationError: "engine.\(EngineError.Kind.cancelled.rawValue)"
        default: "\(type(of: error))"
        }
    }
}
