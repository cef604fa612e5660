/// Where tensors live and kernels run.
package enum Device: Sendable, Hashable, CustomStringConvertible {
    case cpu
    case cuda(Int)

    package var description: String {
        switch self {
        case .cpu: "cpu"
        case .cuda(let index): "cuda:\(index)"
        }
    }
}

/// Memory that a backend allocated; freed when the last reference goes.
package protocol DeviceBuffer: AnyObject {
    var pointer: UnsafeMutableRawPointer { get }
    var byteCount: Int { get }
}
