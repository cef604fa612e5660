import Tensors

// Every operation of the protocol lives in an extension of its own file.
extension CPUBackend: Backend {}
