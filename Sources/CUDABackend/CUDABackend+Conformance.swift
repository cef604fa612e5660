import Tensors

// Every operation of the protocols lives in an extension of its own file.
extension CUDABackend: AsynchronousBackend {}
