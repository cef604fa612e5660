package import Layers
package import Tensors

/// The vision tower and the connector to the language model.
package protocol VisionEncoder: AnyObject {
    /// D, the width of feature rows: the language model's width, or a multiple of it where features are added to several of its layers, see
    /// ``StackedFeatures``.
    var featureSize: Int { get }
    /// Scalars in the weights.
    var parameterCount: Int { get }

    /// Encodes several images, which may differ in size, in one pass.
    ///
    /// - Parameter features: one `[tokenCount_i, D]` tensor of the activation type per image, already allocated, which this
    ///   call writes.
    /// - Throws: ``TensorError`` when the workspace is too small or the device fails, ``ModelError`` when an image does not fit
    ///   the model.
    func encode(_ images: [ProcessedImage], context: ForwardContext, into features: [Tensor]) throws
}
