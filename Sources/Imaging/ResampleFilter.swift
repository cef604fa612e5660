import Foundation

/// The kernel that weighs the samples around a position.
package enum ResampleFilter: String, Sendable, CaseIterable {
    case nearest
    case box
    case bilinear
    /// Keys' cubic with a = -0.5.
    case bicubic
    /// Windowed sinc over three lobes. transformers 5.17.0 computes bicubic in its place with torchvision older than 0.27.
    case lanczos

    /// How far the kernel reaches to each side, in samples of the coarser grid.
    var support: Double {
        switch self {
        case .nearest: 0
        case .box: 0.5
        case .bilinear: 1
        case .bicubic: 2
        case .lanczos: 3
        }
    }

    /// The kernel at `x`, with the order of operations of PyTorch (UpSampleKernel.cpp) or of Pillow (Resample.c).
    func weight(_ x: Double, _ arithmetic: ResampleArithmetic) -> Double {
        switch self {
        case .nearest: return 1
        case .box: return x > -0.5 && x <= 0.5 ? 1 : 0
        case .bilinear: return abs(x) < 1 ? 1 - abs(x) : 0
        case .bicubic: return Self.cubic(abs(x), a: -0.5, arithmetic)
        case .lanczos: return x >= -3 && x < 3 ? Self.sinc(x) * Self.sinc(x / 3) : 0
        }
    }

    private static func cubic(_ x: Double, a: Double, _ arithmetic: ResampleArithmetic) -> Double {
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        if x >= 2 { return 0 }
        switch arithmetic {
        case .torch: return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        case .pillow: return (((x - 5) * x + 8) * x - 4) * a
        }
    }

    private static func sinc(_ x: Double) -> Double {
        if x == 0 { return 1 }
        let scaled = x * .pi
        return sin(scaled) / scaled
    }
}

/// Whose fixed-point arithmetic a resize reproduces; the results differ by one level in a few pixels of a thousand.
package enum ResampleArithmetic: Sendable {
    /// PyTorch's uint8 kernel with antialiasing: 16-bit weights whose precision depends on the largest weight. This is what
    /// torchvision, and so transformers' default processors, compute.
    case torch
    /// Pillow before 13: weights with 22 fractional bits.
    case pillow
}
