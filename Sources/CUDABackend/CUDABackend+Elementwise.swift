import CCUDAKernels
package import Tensors

extension CUDABackend {
    package func add(_ x: Tensor, into out: Tensor) throws {
        try require(x.shape == out.shape, "add", "x \(x.shape) and out \(out.shape) must be equal")
        try onElements("add_rows_8", "add_rows_1", x, into: out, rows: out.rows, "add")
    }

    package func activate(_ x: Tensor, _ activation: Activation) throws {
        try onElements(
            "activate_rows_8", "activate_rows_1", x, into: x, rows: x.rows, activation: activation.cudaValue, "activate")
    }

    package func scale(_ x: Tensor, by factor: Float) throws {
        try onElements("scale_rows_8", "scale_rows_1", x, into: x, rows: x.rows, factor: factor, "scale")
    }
}
