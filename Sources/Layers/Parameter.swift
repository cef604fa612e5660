package import Tensors

/// A weight that is read as a tensor, such as a norm's scale or an embedding table, with the memory it lives in.
package struct Parameter {
    package let tensor: Tensor
    private let owner: any DeviceBuffer

    package init(tensor: Tensor, owner: any DeviceBuffer) {
        self.tensor = tensor
        self.owner = owner
    }
}
