import Tensors

extension CUDABackend {
    /// ``linear(_:_:epilogue:into:)`` of many rows with the asynchronous tensor cores of Hopper.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func hopperGEMM(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws -> Bool {
        false
    }
}
