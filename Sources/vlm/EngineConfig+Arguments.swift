public import ArgumentParser
public import Engine

extension EngineConfig.DeviceChoice: ExpressibleByArgument {
    /// `auto`, `cpu`, `cuda` or `cuda:` and the GPU's number.
    public init?(argument: String) {
        switch argument {
        case "auto": self = .auto
        case "cpu": self = .cpu
        case "cuda": self = .cuda(0)
        default:
            guard argument.hasPrefix("cuda:"), let index = Int(argument.dropFirst(5)), index >= 0 else { return nil }
            self = .cuda(index)
        }
    }
}

extension EngineConfig.Precision: ExpressibleByArgument {}
