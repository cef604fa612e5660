/// Device memory that operations use between their own kernels; one buffer for each purpose, made with the backend.
///
/// All are zero at first. Work is in stream order, so a buffer may be used again by the next operation.
enum Scratch: Int, CaseIterable {
    /// Partial results of split sums.
    case partials
    /// Products in float32 on their way to an epilogue that cuBLASLt does not have.
    case products
    /// cuBLASLt's workspace.
    case blas
    /// Counters that every kernel leaves at zero.
    case counters

    var byteCount: Int {
        switch self {
        case .partials: 32 << 20
        case .products: 64 << 20
        case .blas: 64 << 20
        case .counters: 1 << 20
        }
    }
}
