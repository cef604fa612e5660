/// Device memory that operations use between their own kernels; one buffer for each purpose, made with the backend.
///
/// All are zero at first. Work is in stream order, so a buffer may be used again by the next operation.
enum Scratch: Int, CaseIterable {
    /// Partial results of split sums.
    case partials
    /// Products on their way to an epilogue that cuBLASLt does not have: 1,024 rows of a 7B model's gates and ups, which fill an H100 nine
    /// times almost to the last multiprocessor.
    case products
    /// cuBLASLt's workspace.
    case blas
    /// Counters that every kernel leaves at zero.
    case counters

    var byteCount: Int {
        switch self {
        case .partials: 32 << 20
        case .products: 80 << 20
        case .blas: 64 << 20
        case .counters: 1 << 20
        }
    }
}
