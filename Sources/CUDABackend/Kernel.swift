import CCUDAKernels
import Tensors

/// A program of the embedded sources.
enum KernelFile: String, Sendable, CaseIterable {
    case elementwise, linear, gemm, attention, sampling, images, load
    case attentionScalar = "attention_scalar"
    case attentionHopper = "attention_hopper"
    case decodeAttention = "decode_attention"

    var fileName: String { "\(rawValue).cu" }
}

/// Which compilation of a program is meant: programs are compiled for one element type and, where it matters, one head size.
struct KernelVariant: Hashable, Sendable, CustomStringConvertible {
    let file: KernelFile
    /// `-DVLM_ELEMENT`: float32, float16 or bfloat16.
    let element: DType
    /// `-DVLM_HEAD_SIZE`, 0 when the program does not depend on it.
    var headSize = 0
    /// `-DVLM_OPTION`, whatever else the program chooses at compile time.
    var option = 0

    var description: String {
        "\(file.fileName) \(element.rawValue)" + (headSize > 0 ? " head size \(headSize)" : "")
            + (option > 0 ? " option \(option)" : "")
    }
}

/// A function on the device.
final class Kernel {
    let name: String
    let variant: KernelVariant
    /// `CUfunction`
    let handle: OpaquePointer
    /// The most dynamic shared memory that the driver was told this function may have; 48 KB need no telling.
    var sharedBytes = 48 << 10

    init(name: String, variant: KernelVariant, handle: OpaquePointer) {
        self.name = name
        self.variant = variant
        self.handle = handle
    }

    /// For errors.
    var description: String { "\(name) of \(variant)" }
}

/// Blocks in a launch.
struct Grid {
    var x: Int
    var y = 1
    var z = 1

    init(_ x: Int, _ y: Int = 1, _ z: Int = 1) { (self.x, self.y, self.z) = (x, y, z) }
}
