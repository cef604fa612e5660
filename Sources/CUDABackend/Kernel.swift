import CCUDAKernels
package import Tensors

/// A program of the embedded sources.
package enum KernelFile: String, Sendable, CaseIterable {
    case elementwise, linear, gemm, attention, sampling, images, load, measure
    case attentionScalar = "attention_scalar"
    case attentionHopper = "attention_hopper"
    case decodeAttention = "decode_attention"

    package var fileName: String { "\(rawValue).cu" }
}

/// Which compilation of a program is meant: programs are compiled for one element type and, where it matters, one head size.
package struct KernelVariant: Hashable, Sendable, CustomStringConvertible {
    package let file: KernelFile
    /// `-DVLM_ELEMENT`: float32, float16 or bfloat16.
    package let element: DType
    /// `-DVLM_HEAD_SIZE`, 0 when the program does not depend on it.
    package let headSize: Int
    /// `-DVLM_OPTION`, whatever else the program chooses at compile time.
    package let option: Int

    package init(file: KernelFile, element: DType, headSize: Int = 0, option: Int = 0) {
        self.file = file
        self.element = element
        self.headSize = headSize
        self.option = option
    }

    package var description: String {
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
    var sharedBytes = 0

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
